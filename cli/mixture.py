"""``dominance mixture``: the weights that published formulas would give to the groups of a mixture."""

from __future__ import annotations

import math
import shlex
import shutil
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance_cli import stderr
from dominance_cli.folded import shortened
from dominance_cli.rundir import RUNS, opened, place
from dominance_cli.text import aligned, print_json

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

MOST_COLUMNS, MOST_GROUPS, MOST_NAME = 80, 12, 24
MOST_MARGIN = 0.5
SHARES = ("present", "gradient", "update")
FORMULAS = {"pike": "PiKE", "dga": "DGA"}
TIMES = ("early", "middle", "late")
SOURCES = {
    "pike": "PiKE (arXiv 2502.06244, Algorithm 1): more of the groups with long gradients, less of the noisy ones.",
    "dga": "DGA (arXiv 2410.02498): more of the groups whose gradients point along that of {target}.",
}

UNITS = {
    "present": "share of the examples (or tokens, see unit) of the recorded steps, or of the weights of the losses",
    "gradient": "share of the groups' squared gradients of the shared parameters, mean over steps",
    "update": "share of the groups' squared updates of the shared parameters, mean over steps",
    "pike": "weight after one update of PiKE from the present ones (arXiv 2502.06244, Algorithm 1); null for losses",
    "dga": "weight after one update of DGA from the present ones (arXiv 2410.02498)",
    "pike_se": "standard error, by leaving out each window in turn",
    "dga_se": "standard error, by leaving out each window in turn",
    "conflict": "PiKE's c (Definition 3.1): 0 where no gradients conflict, as it assumes; 1/2 for opposite ones",
    "alignment": "largest cosine of two groups' gradients",
    "step": "weight of the noise against that of the squared gradient in PiKE: zeta_2 / zeta_1",
}


def mixture(
    run: Annotated[str, typer.Argument(metavar="RUN", parser=place, help=RUNS.replace(", folders of some,", ""))],
    target: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="What DGA is for. [default: all groups alike]", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Draw it: a .pdf, .png or .svg.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> int:
    """Say what sampling weights PiKE and DGA would give to the groups of a run, beside those that they have.

    Example: dominance mixture runs/latest --target prose -o mixture.pdf
    """
    from dominance.analyse.mixture import mixture as measure

    found = measure(opened(run), target=target)
    if as_json:
        print_json(document(run, found))
    else:
        width = max(min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS), 40)
        print(text(run, found, width))
    if output is not None:
        from dominance.plots.mixture import plot_mixture

        for path in plot_mixture(found).savefig(output, overwrite=force):
            stderr.line(f"drawn in {path}")
    stderr.line(f"dominance summary {shlex.quote(run)}")
    return 0


def document(run: str, found: xr.Dataset) -> dict[str, Any]:
    """The JSON document."""
    tasks = [str(task) for task in found.task.values]
    names = [*(f"mean_{name}" for name in (*SHARES, *FORMULAS)), *(f"{name}_se" for name in FORMULAS)]
    rows = [
        {"task": task, **{name.removeprefix("mean_"): found[name].values[i] for name in names}}
        for i, task in enumerate(tasks)
    ]
    over = [
        {
            "first_step": found.first_step.values[w],
            "last_step": found.last_step.values[w],
            **{name: dict(zip(tasks, found[name].values[w].tolist(), strict=True)) for name in ("present", *FORMULAS)},
        }
        for w in range(found.sizes["window"])
    ]
    attrs = {name: found.attrs.get(name) for name in ("weights", "unit", "target", "batch", "step")}
    about = ("conflict", "alignment", "left_out", "window", "max_span", "steps_recorded", "steps_used")
    return {"units": UNITS, "path": run, **attrs, **{name: found.attrs[name] for name in about}, "rows": rows,
            "over_training": over}  # fmt: skip


def text(run: str, found: xr.Dataset, width: int) -> str:
    """What a person reads: present shares beside the formulas' weights, how these change, and what they assume."""
    kinds = [name for name in FORMULAS if math.isfinite(float(found[f"mean_{name}"][0]))]
    parts = [f"{run}\n\n{_about(found)}", _heading(found, kinds, width), _table(found, kinds)]
    if found.sizes["window"] >= len(TIMES):
        early = "Weights from single windows: means early, in the middle and late, in %:"
        parts += [early, _over_training(found, kinds)]
    return "\n\n".join([*parts, *(fill(note, width, break_on_hyphens=False) for note in _notes(found, kinds))])


def _about(found: xr.Dataset) -> str:
    groups = "groups" if found.attrs["weights"] == "sampling" else "terms of the loss"
    windows = found.sizes["window"]
    return (
        f"{found.sizes['task']} {groups}, {found.attrs['steps_used']} recorded steps in {windows} "
        f"window{'s' * (windows != 1)}"
    )


def _heading(found: xr.Dataset, kinds: list[str], width: int) -> str:
    sampling = found.attrs["weights"] == "sampling"
    what = found.attrs["unit"] if sampling else "loss weights"
    names = " and by ".join(FORMULAS[name] for name in kinds)
    said = (
        f"Share of the {what}, of the squared gradients and updates, and the {'sampling' if sampling else 'loss'} "
        f"weights that one update by {names} would give (± 95 %), in %:"
    )
    return fill(said, width)


def _order(found: xr.Dataset) -> tuple[list[int], list[int]]:
    """Places of the groups to show, the largest first, and of those that go into one row."""
    order = (-found.mean_present.values).argsort(kind="stable").tolist()
    shown = len(order) if len(order) <= MOST_GROUPS else MOST_GROUPS - 1
    return order[:shown], order[shown:]


def _names(found: xr.Dataset, shown: list[int], rest: list[int]) -> list[str]:
    names = [shortened(str(found.task.values[i]), MOST_NAME) for i in shown]
    return [*names, *([f"{len(rest)} more"] if rest else [])]


def _table(found: xr.Dataset, kinds: list[str]) -> str:
    from dominance.analyse.kernels.special import t_quantile

    shown, rest = _order(found)
    t = t_quantile(0.95, found.sizes["window"] - 1)
    columns = [_summed(found[f"mean_{name}"].values, shown, rest) for name in SHARES]
    cells = [[_percent(value) for value in column] for column in columns]
    for name in kinds:
        errors = found[f"{name}_se"].values
        said = [_percent(value) for value in _summed(found[f"mean_{name}"].values, shown, rest)]
        for row, i in enumerate(shown):
            said[row] += _margin(t * errors[i])
        cells.append(said)
    first = found.attrs["unit"] if found.attrs["weights"] == "sampling" else "weight"
    what = "group" if found.attrs["weights"] == "sampling" else "task"
    heading = [what, first, "gradient", "update", *(FORMULAS[name] for name in kinds)]
    rows = [[name, *row] for name, *row in zip(_names(found, shown, rest), *cells, strict=True)]
    return aligned([heading, *rows], right=[False] + [True] * (len(heading) - 1))


def _margin(half: float) -> str:
    """The half of an interval; of one that spans everything, that it does."""
    if not math.isfinite(half):
        return ""
    return f" ± {_percent(half)}" if half < MOST_MARGIN else f" ± >{_percent(MOST_MARGIN)}"


def _over_training(found: xr.Dataset, kinds: list[str]) -> str:
    import numpy as np

    from dominance.analyse.kernels.known_mean import known_mean

    shown, rest = _order(found)
    columns, heading = [], [""]
    for name in kinds:
        for time, part in zip(TIMES, np.array_split(found[name].values, len(TIMES)), strict=True):
            columns.append([_percent(value) for value in _summed(known_mean(part), shown, rest)])
            heading.append(f"{FORMULAS[name]} {time}" if time == TIMES[0] else time)
    rows = [[name, *row] for name, *row in zip(_names(found, shown, rest), *columns, strict=True)]
    return aligned([heading, *rows], right=[False] + [True] * (len(heading) - 1))


def _summed(values: np.ndarray, shown: list[int], rest: list[int]) -> list[float]:
    """Those that are shown, and the sum of the others."""
    return [*(float(values[i]) for i in shown), *([float(values[rest].sum())] if rest else [])]


def _notes(found: xr.Dataset, kinds: list[str]) -> list[str]:
    from dominance.analyse.mixture import ALIKE

    attrs = found.attrs
    target = "the mean of all groups' losses (--target GROUP for one)" if attrs["target"] == ALIKE else attrs["target"]
    notes = [SOURCES[name].format(target=target) for name in kinds]
    if "pike" in kinds:
        notes[0] += (
            f" It assumes that gradients do not conflict: c is {attrs['conflict']:.2g} here (0: not; 1/2: opposite)."
        )
    else:
        notes.append("PiKE weighs samples, and terms of a loss have all samples in common: it is left out.")
    notes.append(
        "One update each, as if switched on in this run, with step sizes in units of the gradients; the papers tune "
        "theirs. No verdict: `dominance try` compares weights on the script."
    )
    if attrs["left_out"]:
        notes.append(f"Left out, no group or too rare to tell: {', '.join(attrs['left_out'][:8])}.")
    return notes


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f}"
