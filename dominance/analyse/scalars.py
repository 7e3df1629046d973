"""A run as named numbers by training step, for loggers that draw one line for each name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations

import numpy as np
import xarray as xr

from dominance.analyse.folding import fold, folded, populations
from dominance.analyse.glance import MOST_ROWS
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.runs import only_run
from dominance.analyse.summary import Overview, overview
from dominance.errors import NothingRecorded

MOST_TASKS = 8
"""Of more tasks it is a task's mean GCD over the others that is given, and not that of each pair."""

Numbers = dict[str, float]


def scalars(run: xr.DataTree) -> list[tuple[int, float, Numbers]]:
    """What each recorded training step has to say, in order: its number, its time, and named numbers.

    Names are paths, as loggers sort them:

    - ``loss/TASK``: unweighted
    - ``owned/LAYER/TASK``: share of the parameters with rAU over 80 %
    - ``effective_tasks/LAYER``: between 1 and the number of tasks
    - ``gcd/TASK:OTHER``: in all shared layers; of more than eight tasks ``gcd/TASK``, its mean over the others
    - ``gradient_norm/TASK``: 2-norm of its effective gradient in the shared layers
    - ``learning_rate``, or ``learning_rate/LAYER`` where they differ
    - ``metric/SPLIT/TASK/NAME``: what was logged, at its step

    LAYER is "all shared" or a layer; where there are more than 20, groups of neighbours. A number that is not finite
    has no entry. What a step says does not change when the run grows.

    Raises:
        BadOption: not one run.

    >>> from dominance.analyse.scalars import scalars
    >>> step, seconds, numbers = scalars(run)[-1]
    >>> step, numbers["loss/a"], round(numbers["effective_tasks/all shared"], 2), round(numbers["gcd/a:b"], 2)
    (1, 1.0, 1.57, 2.0)
    """
    run = only_run(run)
    said: defaultdict[int, Numbers] = defaultdict(dict)
    root = run.to_dataset()
    steps = root["step"].to_numpy()
    for name, at, values in _courses(run):
        for step, value in zip(at.tolist(), np.asarray(values, dtype=float).tolist(), strict=True):
            if np.isfinite(value):
                said[step][name] = value
    times = dict(zip(steps.tolist(), root["time"].to_numpy().tolist(), strict=True))
    out, latest = [], float("nan")
    for step in sorted(said):
        latest = times.get(step, latest)
        out.append((step, latest, said[step]))
    return out


def _courses(run: xr.DataTree) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, steps and values; of a step that stands twice the later one comes last."""
    steps = run["step"].to_numpy()
    if not len(steps):
        return
    loss = run["loss/loss"].transpose("step", "task")
    for k, task in enumerate(map(str, run["task"].to_numpy())):
        yield f"loss/{task}", steps, loss.to_numpy()[:, k]
    yield from _rates(run, steps)
    yield from _norms(run, steps)
    with suppress(NothingRecorded):  # one task, or none that shares a layer: its losses are all there is
        yield from _dominance(run, overview(run))
    yield from _metrics(run)


def _dominance(run: xr.DataTree, seen: Overview) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    names = [str(name) for name in seen.layers["layer"].values]
    layers = seen.layers
    if len(names) > MOST_ROWS:
        layers = folded(layers, fold(names, MOST_ROWS), populations(run))
    for table in (seen.trunk, layers):
        at = table["step"].to_numpy()
        share = table["share"].isel(bucket=-1).transpose("layer", "task", "step").to_numpy()
        effective = table["effective_tasks"].transpose("layer", "step").to_numpy()
        for i, layer in enumerate(map(str, table["layer"].values)):
            yield f"effective_tasks/{layer}", at, effective[i]
            for k, task in enumerate(map(str, table["task"].values)):
                yield f"owned/{layer}/{task}", at, share[i, k]
    degrees = seen.trunk_conflict.sel(layer=ALL_SHARED)
    values = degrees["gcd"].transpose("task", "task_other", "step").to_numpy()
    tasks, at = [str(task) for task in degrees["task"].values], degrees["step"].to_numpy()
    if len(tasks) <= MOST_TASKS:
        for i, j in combinations(range(len(tasks)), 2):
            yield f"gcd/{tasks[i]}:{tasks[j]}", at, values[i, j]
        return
    for i, task in enumerate(tasks):
        yield f"gcd/{task}", at, known_mean(np.delete(values[i], i, axis=0))


def _norms(run: xr.DataTree, steps: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    table = run["layer"].to_dataset()
    shared = np.flatnonzero(table["shared"].to_numpy())
    squares = table["gradient_sq"].isel(layer=shared).transpose("layer", "task", "step").to_numpy()
    for k, task in enumerate(map(str, run["task"].to_numpy())):
        of_task = squares[:, k]
        known = np.isfinite(of_task).any(0)
        yield f"gradient_norm/{task}", steps, np.where(known, np.sqrt(np.nansum(of_task, axis=0)), np.nan)


def _rates(run: xr.DataTree, steps: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    table = run["learning_rate"].to_dataset()
    rates = table["learning_rate"].transpose("layer", "step").to_numpy()
    names = [str(name) for name in table["layer"].values]
    first: np.ndarray = rates[0]
    if all(np.array_equal(first, each, equal_nan=True) for each in rates):
        yield "learning_rate", steps, first
        return
    for label, layers in fold(names, MOST_ROWS).items() if len(names) > MOST_ROWS else ((n, [n]) for n in names):
        yield f"learning_rate/{label}", steps, rates[names.index(layers[0])]


def _metrics(run: xr.DataTree) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    if "metric" not in run.children:
        return
    table = run["metric"].to_dataset()
    columns = [table[name].to_numpy() for name in ("split", "event_task", "metric", "event_step", "value")]
    for split, task, name, step, value in zip(*columns, strict=True):
        if step >= 0:
            where = "/".join(filter(None, ("metric", str(split), str(task), str(name))))
            yield where, np.array([step]), np.array([value])
