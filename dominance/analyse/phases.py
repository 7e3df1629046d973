"""Phases of a training: from where to where a task has the same share of the steps, and tasks conflict as much."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.grams import ByLayer, Grams, grams, groups_of
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.change_points import change_points, nearest_split
from dominance.analyse.kernels.gcd import gcd
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption
from dominance.unattributed import MOST_UNATTRIBUTED

Floats = NDArray[np.float64]
MEASURES = ("ownership", "conflict")
_POINTS = 200
"""Steps are put together to so many means at most: neighbouring steps resemble each other, and more say no more."""
_SHORTEST = 0.025


@over_runs
def phases(
    run: PreparedRun,
    *,
    by: ByLayer = "all",
    least: float = 0.1,
    shortest: float = _SHORTEST,
    max_unattributed: float = MOST_UNATTRIBUTED,
) -> xr.Dataset:
    """Where in the training the tasks' shares of the steps change, or their conflict does, by layer.

    Two series of each layer are cut into phases of one level each: each task's share of the squared update of the step,

        share_k(t) = |Δ_k(t)|² / Σ_k' |Δ_k'(t)|²

    and the GCD of each pair of tasks. The cuts are those with the least squares around the means of the phases, with a
    penalty for each that grows with the noise of the series and with how long its neighbours resemble each other
    (optimal partitioning: Killick, Fearnhead and Eckley 2012). Both series are exact over all parameters and of single
    steps: there is no average that a change would have to come through first, as in ``since`` of ``ownership``.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        by: "all", "layer", or labels and globs of layers, as in ``gcd``.
        least: a change is by more than this: of a share (0 to 1) of some task, or half of it of a GCD (0 to 2).
        shortest: a phase has at least this part of the steps, above 0 and up to 0.5.
        max_unattributed: a step with a larger share of unattributed momentum is left out.

    Returns:
        Along ``step`` (the usable ones), ``layer``, ``task``, and ``change``, in order of their steps:

        - ``share`` (step, layer, task), ``gcd`` (step, layer, task, task_other): the series
        - ``level`` (step, layer, task), ``gcd_level`` (step, layer, task, task_other): the mean of the phase that the
          step is in; NaN where the series is unknown throughout
        - ``phase`` (step, layer, measure): number of the phase, from 0; ``measure``: "ownership", "conflict"
        - ``change_at`` (change): the first step of the new phase; ``change_layer``, ``change_measure`` (change)
        - ``change_task``, ``change_other`` (change): the task whose share changes most, and ""; or the two tasks whose
          GCD does
        - ``before``, ``after`` (change): the levels of that share or GCD

    Raises:
        BadOption: an option is out of range, or ``by`` is unknown.
        NothingRecorded: no usable step, or no layer that two tasks share.

    >>> from dominance import phases
    >>> found = phases(run)
    >>> found.share.sel(layer="all shared").values, found.sizes["change"]  # updates (1, 0), then (2, 1)
    (array([[1. , 0. ],
           [0.8, 0.2]]), 0)
    """
    if not 0 <= least < 1:
        raise BadOption(f"least={least} is no change of a share", fix="give a number from 0 to below 1")
    if not 0 < shortest <= 0.5:
        raise BadOption(f"shortest={shortest} is no part that two phases have", fix="give one above 0 and up to 0.5")
    steps = run.usable(run.attribution, max_unattributed)
    steps.require(run.tree)
    rows = steps.rows()
    layers, share = _shares(run, by, rows)
    conflict = _conflict(grams(run, by), run.numbers[rows])
    tasks = run.tasks
    levels, conflict_levels = np.full_like(share, np.nan), np.full_like(conflict, np.nan)
    phase = np.zeros((len(rows), len(layers), len(MEASURES)), dtype=np.int64)
    changes: list[tuple[Any, ...]] = []
    first, second = np.triu_indices(len(tasks), 1)
    for i, layer in enumerate(layers):
        for measure, series in enumerate((share[:, i], 0.5 * conflict[:, i, first, second])):
            starts, means = _cut(series, least, shortest)
            phase[:, i, measure] = np.searchsorted(starts, np.arange(len(rows)), side="right")
            of_step = means[phase[:, i, measure]]
            if measure == 0:
                levels[:, i] = of_step
            else:
                conflict_levels[:, i, first, second] = conflict_levels[:, i, second, first] = 2 * of_step
            for number, row in enumerate(starts.tolist()):
                by_how_much = np.abs(means[number + 1] - means[number])
                most = int(np.nanargmax(np.round(by_how_much, 9)))  # of two tasks the first: both change alike
                names = (tasks[first[most]], tasks[second[most]]) if measure else (tasks[most], "")
                scale = 1 + measure
                level = scale * means[number, most], scale * means[number + 1, most]
                changes.append((int(run.numbers[rows[row]]), layer, MEASURES[measure], *map(str, names), *level))
    changes.sort(key=lambda change: change[0])
    return xr.Dataset(
        {
            "share": (("step", "layer", "task"), share),
            "level": (("step", "layer", "task"), levels),
            "gcd": (("step", "layer", "task", "task_other"), conflict),
            "gcd_level": (("step", "layer", "task", "task_other"), conflict_levels),
            "phase": (("step", "layer", "measure"), phase),
            **_table(changes),
        },
        coords={
            "step": run.numbers[rows],
            "layer": layers,
            "task": tasks,
            "task_other": tasks,
            "measure": list(MEASURES),
            "change": np.arange(len(changes)),
        },
        attrs={"by": by if isinstance(by, str) else "custom", "least": least, **steps.attributes()},
    )


def _table(changes: list[tuple[Any, ...]]) -> dict[str, tuple[str, NDArray[Any]]]:
    names = ("change_at", "change_layer", "change_measure", "change_task", "change_other", "before", "after")
    types = (np.int64, object, object, object, object, np.float64, np.float64)
    columns = zip(*changes, strict=True) if changes else ((),) * len(names)
    return {
        name: ("change", np.array(list(column), dtype=kind))
        for name, column, kind in zip(names, columns, types, strict=True)
    }


def _shares(run: PreparedRun, by: ByLayer, rows: NDArray[np.int64]) -> tuple[list[str], Floats]:
    """Labels, and (step, layer, task) shares of the squared update; NaN where there is none."""
    labels, inside = groups_of(by, [run.layers[i] for i in run.shared_layers])
    name = "solo_sq" if run.attribution == "solo" else "update_sq"
    squares = np.nan_to_num(run["layer"][name].isel(step=rows, layer=run.shared_layers).to_numpy())  # absent: none
    summed = np.einsum("slk,gl->sgk", squares, inside.astype(float))
    whole = summed.sum(axis=-1, keepdims=True)
    return labels, np.asarray(np.divide(summed, whole, out=np.full_like(summed, np.nan), where=whole > 0))


def _conflict(found: Grams, numbers: NDArray[np.int64]) -> Floats:
    """(step, layer, task, task_other) GCD at these steps."""
    return np.asarray(gcd(found.values[np.searchsorted(found.steps, numbers)]))


def _cut(series: Floats, least: float, shortest: float) -> tuple[NDArray[np.int64], Floats]:
    """First rows of the phases after the first, and (phase, component) their means.

    Args:
        series: (step, component); a component that is NaN throughout is looked past, a step with another NaN as well.
    """
    known = np.isfinite(series).any(axis=0)
    rows = np.flatnonzero(np.isfinite(series[:, known]).all(axis=1))
    starts = np.empty(0, np.int64)
    if known.any() and len(rows):
        starts = rows[_boundaries(series[rows][:, known], least, shortest)]
    with np.errstate(invalid="ignore"):
        means = np.stack([_mean(part) for part in np.split(series, starts)])
    return starts, means


def _mean(part: Floats) -> Floats:
    """(component,) mean of what is known; NaN where nothing is."""
    count = np.isfinite(part).sum(axis=0)
    return np.asarray(np.nansum(part, axis=0) / np.where(count, count, np.nan))


def _boundaries(series: Floats, least: float, shortest: float) -> NDArray[np.int64]:
    """Rows at which the mean changes: between means of neighbouring steps first, and then to the step."""
    count = len(series)
    edges = np.linspace(0, count, min(_POINTS, count) + 1).astype(np.int64)
    points = np.stack([part.mean(axis=0) for part in np.split(series, edges[1:-1])])
    found = change_points(points, shortest=max(2, int(np.ceil(shortest * len(points)))), least=least)
    levels = [part.mean(axis=0) for part in np.split(points, found)]
    exact = []
    for number, point in enumerate(found.tolist()):
        low, high = edges[point - 1], edges[point + 1]
        exact.append(low + nearest_split(levels[number], levels[number + 1], series[low:high]))
    return np.array(exact, dtype=np.int64)
