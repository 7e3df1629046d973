"""From a run or an analyser's result to the numbers that a plot draws; choosing tasks and layers by name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.steps import steps_taken
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.series import span as series_span
from dominance.plots.series import thin

PlotInput = xr.DataTree | xr.Dataset
Layers = str | Sequence[str] | None
MOST_LAYERS = 120
"""More layers than this are not drawn unless they are named: evenly spaced ones stand for all."""


def resolve(source: PlotInput, variable: str, analyse: Callable[[xr.DataTree], xr.Dataset]) -> xr.Dataset:
    """The result itself, or what ``analyse`` makes of a run.

    Raises:
        BadOption: neither a run nor a result that holds ``variable``.
        NothingRecorded: it holds no step.
    """
    if isinstance(source, xr.DataTree):
        data = analyse(source)
    elif isinstance(source, xr.Dataset) and variable in source:
        data = source
    else:
        held = f"a Dataset of {', '.join(map(str, source))}" if isinstance(source, xr.Dataset) else repr(type(source))
        raise BadOption(f"cannot plot {held}: it has no {variable!r}", fix="give an open run or the analyser's result")
    if data.sizes.get("step", 1) == 0:
        raise NothingRecorded("nothing to plot: no step is recorded", fix="record some training steps first")
    return data


def choose_tasks(data: xr.Dataset, tasks: str | Sequence[str] | None) -> list[str]:
    """The names asked for, all of them by default.

    Raises:
        BadOption: a task that is not in the data.
    """
    known = [str(name) for name in data["task"].values]
    asked = known if tasks is None else [tasks] if isinstance(tasks, str) else [str(name) for name in tasks]
    for name in asked:
        if name not in known:
            raise BadOption(f"no task {name!r}", fix=f"choose from {', '.join(known)}")
    if not asked:
        raise BadOption("no task is chosen", fix=f"choose from {', '.join(known)}")
    return asked


def choose_layers(
    known: Sequence[str], layers: str | Sequence[str], *, most: int = MOST_LAYERS
) -> tuple[list[str], str]:
    """The layers meant by "each", a glob, or a list of names and globs; and a note when not all of them are shown.

    Raises:
        BadOption: a name or glob that fits no layer.
    """
    asked = ["*"] if layers == "each" else [layers] if isinstance(layers, str) else list(layers)
    chosen: list[str] = []
    for pattern in asked:
        found = [pattern] if pattern in known else [name for name in known if fnmatchcase(name, pattern)]
        if not found:
            shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
            raise BadOption(f"no shared layer fits {pattern!r}", fix=f"there are {shown}")
        chosen += [name for name in found if name not in chosen]
    if layers == "each" and len(chosen) > most:
        kept = [chosen[i] for i in thin(len(chosen), most)]
        return kept, f"{len(kept)} of {len(chosen)} layers, evenly spaced; name layers to see others."
    return chosen, ""


def known_layers(data: xr.DataArray) -> list[str]:
    """Layers with at least one finite number."""
    finite = np.isfinite(data.transpose("layer", ...).values.reshape(data.sizes["layer"], -1)).any(axis=1)
    return [str(name) for name, is_known in zip(data["layer"].values, finite, strict=True) if is_known]


def whole_trunk(data: xr.Dataset, fix: str) -> xr.Dataset:
    """The result itself, when its only layer is the whole shared trunk.

    Raises:
        BadOption: the result is by layer, and shares of layers cannot be put together afterwards.
    """
    if data.sizes["layer"] != 1:
        raise BadOption(f"this result is split into {data.sizes['layer']} layers, not the whole trunk", fix=fix)
    return data


def two_by_two(
    data: xr.Dataset, variable: str, tasks: str | Sequence[str] | None, layers: Layers, *, what: str, fix: str
) -> tuple[xr.Dataset, list[str], str]:
    """A result on pairs of tasks, of the chosen tasks in the trunk, or in the chosen layers that have such a pair.

    Args:
        variable: (..., task, task_other, ...), NaN where the pair has no gradients.
        what: what is measured, as the beginning of a sentence.
        fix: see ``whole_trunk``.

    Returns:
        The part of the result, the tasks, and which layers are left out, in words.

    Raises:
        NothingRecorded: fewer than two tasks, or no pair with two gradients at the same step.
        BadOption: an unknown task or layer, or a result by layer for the trunk.
    """
    chosen = choose_tasks(data, tasks)
    if len(chosen) < 2:
        raise NothingRecorded(f"{what} tasks, and there is one ({chosen[0]})", fix="choose or record two tasks")
    data, left_out = data.sel(task=chosen, task_other=chosen), ""
    of_two = data[variable].where(data["task"] != data["task_other"])
    if layers is None:
        data = whole_trunk(data, fix)
    elif known := known_layers(of_two):
        names, left_out = choose_layers(known, layers)
        data, of_two = data.sel(layer=names), of_two.sel(layer=names)
    if not np.isfinite(of_two.values).any():
        raise NothingRecorded("no two tasks have gradients at the same step", fix="record a model with shared layers")
    return data, chosen, left_out


def one_run(data: xr.Dataset) -> xr.Dataset:
    """The result itself, when it is of one run.

    Raises:
        BadOption: it is of several.
    """
    if "run" in data.dims:
        names = ", ".join(str(name) for name in data["run"].values[:5])
        raise BadOption(
            f"this plot shows one run, not {data.sizes['run']} ({names})", fix="choose: result.sel(run=...)"
        )
    return data


def group(run: xr.DataTree, name: str) -> xr.Dataset:
    """One group of a run, with the coordinates it inherits."""
    node: Any = run[name]
    found: xr.Dataset = node.to_dataset(inherit=True)
    return found.assign_attrs(steps_taken=steps_taken(run))


def attribution(run: xr.DataTree) -> str:
    """Which update of a task to analyse: the additive one, unless the run holds solo updates alone."""
    return "solo" if run.attrs.get("attribution") == "solo" else "additive"


_REASONS = {
    "superseded": "recorded again after a resume",
    "skipped": "skipped by the optimizer",
    "not_understood": "not understood",
    "non_finite": "not finite",
    "unattributed": "with more than {most:.0f} % unattributed momentum",
}


def steps_left_out(attrs: dict[Hashable, Any]) -> str:
    """Which recorded steps an analysis of updates could not use, in words; "" when it used all."""
    counts = {reason: sum(_by_run(attrs.get(f"left_out_{reason}", 0))) for reason in _REASONS}
    total = sum(counts.values())
    if not total:
        return ""
    most = 100 * float(attrs.get("max_unattributed", 0.0))
    recorded = sum(_by_run(attrs["steps_recorded"])) if "steps_recorded" in attrs else "the"
    said = ", ".join(f"{number} {_REASONS[reason].format(most=most)}" for reason, number in counts.items() if number)
    return f"Left out of {recorded} recorded steps: {said}."


def steps_drawn(drawn: int, data: xr.Dataset) -> str:
    """How many of the steps that an analysis used are drawn, in words; "" when all are."""
    used = max(_by_run(data.attrs.get("steps_used", data.sizes["step"])))
    return f"Drawn at {drawn} of {used} recorded steps." if drawn < used else ""


def _by_run(value: Any) -> list[int]:
    """An attribute of a result: one number, or of several runs one for each that has it."""
    return [int(each) for each in value if each is not None] if isinstance(value, list) else [int(value)]


def span(data: xr.Dataset) -> tuple[float, float]:
    """Limits of an axis of training steps: to where the training ended, if that is known, not the recording."""
    return series_span(data["step"].values, max(_by_run(data.attrs.get("steps_taken", 0)), default=0))


def given_axes(ax: Any, count: int) -> np.ndarray:
    """The user's axes as a flat array of ``count``.

    Raises:
        BadOption: there are more or fewer of them.
    """
    axes = np.empty(1, dtype=object)
    axes[0] = ax
    if isinstance(ax, np.ndarray | list | tuple):
        axes = np.array(ax, dtype=object).ravel()
    if len(axes) != count:
        fix = f"give {count} axes, or choose tasks= and layers= to fit"
        raise BadOption(f"{count} panels do not go into {len(axes)} axes", fix=fix)
    return axes


def joined(*parts: str) -> str:
    """The sentences that say something."""
    return " ".join(part for part in parts if part)
