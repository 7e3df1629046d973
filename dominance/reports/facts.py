"""What the first page of a report says: how the run was recorded, and one row for each shared layer."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from dominance.analyse.glance import worst_pair
from dominance.analyse.summary import Overview, percent
from dominance.plots import inputs
from dominance.plots.backends import matplotlib_
from dominance.plots.gradient_norms import gradient_shares
from dominance.plots.labels import fit
from dominance.plots.losses import weights_words
from dominance.schema import MODEL_NUMBER, MODEL_OF
from dominance.words import held, rates_said, scheduled

HEADER = (
    "layer",
    "parameters",
    "largest owner\n(rAU > 80 %)",
    "effective\ntasks",
    "untouched",
    "largest gradient\n(share of energy)",
    "most conflict\n(mean GCD)",
)
WIDTHS = (1.42, 0.68, 1.16, 0.62, 0.66, 1.16, 1.5)
RIGHT = (False, True, False, True, True, False, False)


def name_of(run: xr.DataTree) -> str:
    """The run's directory, by its own name."""
    return Path(str(run.attrs.get("path", "run"))).name


def facts(run: xr.DataTree) -> list[tuple[str, str]]:
    """(name, words) of what is known about the recording; what the run's attributes lack is left out."""
    attrs = run.attrs
    layer = inputs.group(run, "layer")
    lines: list[tuple[str, str]] = []
    if attrs.get("argv"):
        lines.append(("script", shlex.join(str(part) for part in attrs["argv"])))
    if attrs.get("git_commit"):
        lines.append(("git commit", str(attrs["git_commit"])))
    if len(attrs.get(MODEL_OF, ())) > 1:
        others = ", ".join(name for name in attrs[MODEL_OF] if name != name_of(run))
        lines.append(
            ("model", f"number {attrs.get(MODEL_NUMBER, 1)} of those that one process trained, after {others}")
        )
    lines.append(("tasks", _tasks(run)))
    if attrs.get("residual_terms"):
        lines.append(("residual", ", ".join(str(term) for term in attrs["residual_terms"])))
    lines.append(("steps", _steps(run)))
    if "schedule" in attrs:
        lines.append(("schedule", scheduled(attrs["schedule"])))
    if "overhead" in attrs:
        lines.append(("overhead", held(attrs["overhead"])))
    shared = layer["shared"].values.astype(bool)
    lines.append(("layers", f"{len(shared)}, of which {int(shared.sum())} shared"))
    total, kept = int(layer["size"].sum()), int(run.sizes.get("coord", 0))
    sampled = "all kept" if kept == total else f"a sample of {kept:,} kept"
    lines.append(("parameters", f"{total:,}, {sampled}; norms and GCD are exact over all"))
    for optimizer in attrs.get("optimizers", []):
        rates = rates_said(optimizer["groups"])
        note = f" ({optimizer['note']})" if optimizer.get("note") else ""
        lines.append(("optimizer", f"{optimizer['class']}{f', learning rate {rates}' if rates else ''}{note}"))
    lines.append(("attribution", str(attrs["attribution"])))
    if attrs.get("versions"):
        lines.append(("versions", ", ".join(f"{name} {version}" for name, version in attrs["versions"].items())))
    if attrs.get("status") not in (None, "complete"):
        lines.append(("status", str(attrs["status"])))
    return lines


def _tasks(run: xr.DataTree) -> str:
    loss = inputs.group(run, "loss")
    words = weights_words(loss["weight"].transpose("step", "task").values)
    names = [str(name) for name in loss["task"].values]
    return ", ".join(f"{name} ({says})" if says else name for name, says in zip(names, words, strict=True))


def _steps(run: xr.DataTree) -> str:
    root = run.to_dataset()
    steps = root["step"].values
    taken = run.attrs.get("steps_taken")
    skipped = int((root["skipped"].values == 1).sum())
    return (
        f"{len(steps):,} recorded, numbers {int(steps.min()):,} to {int(steps.max()):,}"
        + (f", of {taken:,} taken" if taken is not None else "")
        + (f"; {skipped} skipped by the optimizer" if skipped else "")
    )


def in_one_line(run: xr.DataTree) -> str:
    """Whose training it was, under which optimizer, and how much of it was recorded."""
    names = [str(task) for task in run["task"].to_numpy()]
    said = [f"{len(names)} tasks" if len(names) != 1 else "1 task"]
    kinds = dict.fromkeys(str(optimizer["class"]) for optimizer in run.attrs.get("optimizers", []))
    said += [" and ".join(kinds)] if kinds else []
    return ", ".join([*said, _steps(run)])


def glossary(run: xr.DataTree) -> list[tuple[str, str]]:
    """(word, what it means) of what stands in this report, or in what ``record`` and ``info`` say of the run."""
    words = [
        ("update", "The optimizer's step, split into what each task's gradients contributed to it."),
        ("rAU", "A task's share of the squared updates of a parameter, as a moving average. Over 80 %: it owns it."),
        ("tasks", "Effective number of tasks: 1 where one moves a parameter alone, the number of tasks where all do."),
        ("GCD", "Gradient conflict degree, 1 − cosine of two tasks' gradients: over 1 they pull against each other."),
        ("untouched", "Parameters that no task has moved: dead units, embedding rows that have not been seen."),
        ("weight", "What a loss is multiplied by before it is added to the others; record says it unless all are 1."),
    ]
    parts = inputs.group(run, "layer")
    if run.attrs.get("residual_terms") or _any(parts, "residual_gradient_sq"):
        words.append(
            ("residual", "The part of the gradient that belongs to no task, such as a penalty on the weights.")
        )
    if run.attrs.get("attribution") in ("solo", "both"):
        words.append(("solo", "The step that the optimizer would take from one task's gradient alone: where a step"))
        words[-1] = (words[-1][0], f"{words[-1][1]} cannot be split into a sum.")
    if run.attrs.get("attribution") in ("additive", "both"):
        words.append(("additive", "Updates that add up, with the other parts, to the step that was taken."))
    if _any(parts, "unattributed_sq"):
        words.append(("unattributed", "Momentum of gradients from steps that were not recorded; it fades in a burst."))
    if _any(parts, "outside_sq"):
        words.append(("outside", "What the parameters did between one step and the next: clamps, averages, loads."))
    return words


def _any(parts: xr.Dataset, name: str) -> bool:
    return name in parts and bool((np.nan_to_num(parts[name].values) > 0).any())


def table(
    run: xr.DataTree, seen: Overview, layers: Sequence[str] | None = None, name: Callable[[str], str] = str
) -> list[list[str]]:
    """One row for each shared layer, the whole trunk first; columns as in ``HEADER``.

    Args:
        layers: only these, in this order.
        name: what a layer is called.
    """
    shares = gradient_shares(run)["share"]
    size = inputs.group(run, "layer")["size"]
    sizes = dict(zip(map(str, size["layer"].values), size.values.tolist(), strict=True))
    shared = [str(name) for name in seen.layers["layer"].values]
    rows = [_row(seen.trunk, seen.trunk_conflict, 0, sum(sizes[layer] for layer in shared), None)]
    for layer in shared if layers is None else layers:
        i = shared.index(layer)
        conflict = seen.conflict.sel(layer=[layer])
        row = _row(seen.layers.isel(layer=[i]), conflict, 0, sizes[layer], shares.sel(layer=layer))
        rows.append([name(layer), *row[1:]])
    return rows


def _row(buckets: xr.Dataset, conflict: xr.Dataset, i: int, size: int, shares: xr.DataArray | None) -> list[str]:
    last = buckets.isel(layer=i, step=-1)
    owned = last["share"].isel(bucket=-1)
    owner, most = _largest(owned)
    heard, energy = _largest(shares) if shares is not None else ("", np.nan)
    pair, degree = _worst(conflict, str(conflict["layer"].values[i]))
    effective, count = float(last["effective_tasks"]), last.sizes["task"]
    return [
        str(last["layer"].item()),
        f"{size:,}",
        "none" if not most > 0 else f"{owner} {percent(most)}",
        f"{effective:.2f} of {count}" if np.isfinite(effective) else "",
        percent(float(last["untouched"])),
        f"{heard} {percent(energy)}" if np.isfinite(energy) else "",
        f"{pair} {degree:.2f}" if np.isfinite(degree) else "",
    ]


def _largest(values: xr.DataArray) -> tuple[str, float]:
    numbers = values.values
    if not np.isfinite(numbers).any():
        return "", float("nan")
    best = int(np.nanargmax(numbers))
    return str(values["task"].values[best]), float(numbers[best])


def _worst(conflict: xr.Dataset, layer: str) -> tuple[str, float]:
    one, other, degree = worst_pair(conflict, layer)
    room = (WIDTHS[-1] - 0.55) / 2  # of the column, less sign and number
    tasks = [str(name) for name in conflict["task"].values]
    short = dict(zip(tasks, fit(tasks, room, matplotlib_, 7.0), strict=True))
    return (f"{short[one]} × {short[other]}" if one else ""), degree
