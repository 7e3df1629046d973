"""What changed from one training to another, and whether it is more than noise."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.conflict import gcd
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.kernels.batch_means import batch_means
from dominance.analyse.kernels.certainty import stretches
from dominance.analyse.kernels.holm import holm
from dominance.analyse.kernels.t_test import Difference, joined
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.rau_buckets import bucket_tables
from dominance.analyse.runs import only_run
from dominance.analyse.study.about import directions
from dominance.analyse.study.changed import NOBODY, Change, Line, Side
from dominance.analyse.study.scores import events
from dominance.analyse.summary import overview
from dominance.analyse.verdict.doubts import distrust
from dominance.analyse.verdict.harm import SPLITS
from dominance.analyse.verdict.rules import LEAST_STEPS, OWNED
from dominance.analyse.verdict.verdict import verdict
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded

LEVEL = 0.05
"""Chance that anything at all is called more than noise where nothing changed, for the whole of the shared parameters;
and as much again for the layers (Holm)."""

PARTS, SHORTEST, MEMORY = 5, 1.25, 100
"""Stretches of the later half of a run whose means stand for independent values; each is two memories of rAU long. A
memory is at most that of ``rau_buckets``, and at least more than the one step that runs of LEAST_STEPS would come to:
sums with a memory of one step keep nothing."""

SEEDS = {"effective_tasks": 0.1, "owned": 0.15, "gcd": 0.1, "loss": 0.15}
"""What two seeds of one training commonly differ by, which the steps of a single run do not show: a tenth of the way
from one effective task to all, 15 points, 0.1, 15 % of a loss. With one run on a side only what is beyond it is tested.
Two seeds of the digits example differ by 0.06, 7 points, 0.02 and 11 %."""

Key = tuple[str, str, str, str, str]
"""quantity, layer, task, other task, metric; "" for what it has none of."""


def change(
    before: xr.DataTree | Mapping[str, xr.DataTree],
    after: xr.DataTree | Mapping[str, xr.DataTree],
    *,
    higher_is_better: Directions | None = None,
) -> Change:
    """Compare two trainings, each one run or several (of different seeds), number by number.

    Of each run: the effective number of tasks and the share of the parameters that each task owns, means over the later
    half of the usable steps; the GCD of each pair of tasks over the same; the losses, over the last fifth; the final
    scores. The noise of several runs is their spread (Welch's t test); that of a single one is the spread of its own
    steps, by means over stretches, since steps that follow each other are not independent, and beside that what two
    seeds commonly differ by (``SEEDS``). A score of a single run has no noise that is known. What is compared are
    tasks, layers and metrics that both sides have.

    rAU has the same memory on both sides: a tenth of the later half of the shortest run, at most 100 steps (as in
    ``rau_buckets``) and at least 1.25, so that the stretches are long against it.

    Args:
        before, after: an open run, or several by name.
        higher_is_better: direction of metrics that the runs do not declare.

    Raises:
        BadOption: the sides have no two tasks in common.
        NothingRecorded: a run has too few usable steps, or no shared parameter.
    """
    sides = [_named(before), _named(after)]
    trees = [each for side in sides for each in side.values()]
    common = [task for task in _tasks(trees[0]) if all(task in _tasks(tree) for tree in trees)]
    if len(common) < 2:
        raise BadOption("the runs have no two tasks in common", fix="compare runs of the same tasks")
    runs = [[PreparedRun(tree) for tree in side.values()] for side in sides]
    later = min(len(_rows(run)) // 2 for side in runs for run in side)
    memory = max(SHORTEST, min(MEMORY, later / (2 * PARTS)))
    measured = [[_measure(run, common, memory) for run in side] for side in runs]
    verdicts = [tuple(verdict(run.tree, seen=overview(run)) for run in side) for side in runs]
    doubts: dict[str, tuple[str, ...]] = {}
    unsure: set[str] = set()  # quantities
    for side, found in zip(sides, verdicts, strict=True):
        for name, said in zip(side, found, strict=True):
            if why := distrust(said.books, said):
                doubts[name] = why
                unsure |= {"effective_tasks", "owned"}
            if distrust(said.books, said, of_gradients=True):
                unsure.add("gcd")
    alone = any(len(side) == 1 for side in sides)
    margins = {**SEEDS, "effective_tasks": SEEDS["effective_tasks"] * (len(_tasks(trees[0])) - 1)} if alone else {}
    ways = {key: way for tree in trees for key, way in directions(tree, higher_is_better).items()}
    lines = _tested(_lines(measured[0], measured[1], ways), unsure, margins)
    owners = tuple(_owner(lines, side) for side in ("before", "after"))
    return Change(
        (tuple(sides[0]), tuple(sides[1])),
        tuple(lines),
        (owners[0], owners[1]),
        (verdicts[0], verdicts[1]),
        doubts,
        tuple(_notes(sides, trees, common)),
        memory,
    )


def _named(side: xr.DataTree | Mapping[str, xr.DataTree]) -> dict[str, xr.DataTree]:
    if isinstance(side, xr.DataTree):
        side = {str(side.attrs.get("path", "run")): side}
    if not side:
        raise BadOption("nothing to compare with", fix="give at least one run for each side")
    return {name: only_run(run) for name, run in side.items()}


def _tasks(run: xr.DataTree) -> list[str]:
    return [str(task) for task in run["task"].to_numpy()]


def _rows(run: PreparedRun) -> NDArray[np.int64]:
    steps = run.usable(run.attribution)
    steps.require(run.tree)
    rows = steps.rows()
    if len(rows) < LEAST_STEPS:
        raise NothingRecorded(
            f"{run.where}: {len(rows)} usable steps are too few to compare; at least {LEAST_STEPS} are needed",
            fix="train longer, or record more of it (`--every 1`)",
        )
    return rows


def _measure(run: PreparedRun, tasks: Sequence[str], memory: float) -> dict[Key, Side]:
    """Every number of one run, with the noise of its own steps."""
    rows = _rows(run)
    half = int(run.numbers[rows[len(rows) // 2]])
    found: dict[Key, Side] = {}
    decay = 1 - 1 / memory
    by = bucket_tables(run, ["all", "layer"], decay=decay, attribution=run.attribution)
    for table in by:
        later = table.sel(step=table["step"] >= half)
        effective = _spread(later["effective_tasks"].transpose("step", "layer").values)
        for layer, side in zip(table["layer"].values.tolist(), effective, strict=True):
            found["effective_tasks", str(layer), "", "", ""] = side
    whole = by[0].sel(step=by[0]["step"] >= half).isel(layer=0, bucket=-1)
    error = whole["share_se"].transpose("step", "task").values[-1]
    sides = _spread(whole["share"].transpose("step", "task").values)
    for task, side, se in zip(whole["task"].values.tolist(), sides, error, strict=True):
        if task in tasks:
            found["owned", ALL_SHARED, str(task), "", ""] = replace(side, se=math.hypot(side.se, float(se)))
    found.update(_conflicts(run, tasks, half))
    found.update(_losses(run.tree, tasks, rows))
    found.update(_scores(run.tree, tasks))
    return {key: side for key, side in found.items() if math.isfinite(side.value)}


def _spread(values: NDArray[np.float64]) -> list[Side]:
    """Of each column (step, column): its mean over stretches and the standard error of that."""
    parts = stretches(values, PARTS)
    count = len(parts)
    error = parts.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else np.full(parts.shape[1], np.nan)
    return [Side(float(m), float(e), count - 1) for m, e in zip(parts.mean(axis=0), error, strict=True)]


def _conflicts(run: PreparedRun, tasks: Sequence[str], half: int) -> dict[Key, Side]:
    degree = gcd(run, by="all")
    values = degree["gcd"].sel(layer=ALL_SHARED, step=degree["step"] >= half)
    found: dict[Key, Side] = {}
    for one, other in combinations(tasks, 2):
        mean, error, count = batch_means(values.sel(task=one, task_other=other).values)
        found["gcd", ALL_SHARED, one, other, ""] = Side(float(mean), float(error), float(count) - 1)
    return found


def _losses(run: xr.DataTree, tasks: Sequence[str], rows: NDArray[np.int64]) -> dict[Key, Side]:
    last = run["loss/loss"].isel(step=rows[-max(1, len(rows) // 5) :])
    found: dict[Key, Side] = {}
    for task in tasks:
        mean, error, count = batch_means(last.sel(task=task).to_numpy())
        found["loss", "", task, "", ""] = Side(float(mean), float(error), float(count) - 1)
    return found


def _scores(run: xr.DataTree, tasks: Sequence[str]) -> dict[Key, Side]:
    """The last value of each metric, of the best split that was logged: final, test, val, train."""
    table = events(run)
    split = next((split for split in SPLITS if (table["split"] == split).any()), None)
    table = table[(table["split"] == split) & table["task"].isin(list(tasks))]
    last = table.drop_duplicates(["task", "metric"], keep="last")
    each = zip(last["task"].tolist(), last["metric"].tolist(), last["value"].tolist(), strict=True)
    return {("score", "", str(task), "", str(metric)): Side(float(value)) for task, metric, value in each}


def _lines(
    before: Sequence[Mapping[Key, Side]], after: Sequence[Mapping[Key, Side]], ways: Mapping[tuple[str, str], bool]
) -> list[Line]:
    keys = [key for key in before[0] if all(key in each for each in (*before, *after))]
    order = ["effective_tasks", "owned", "gcd", "loss", "score"]
    keys.sort(key=lambda key: (order.index(key[0]), key[1] not in ("", ALL_SHARED)))
    found = []
    for key in keys:
        way = False if key[0] == "loss" else ways.get((key[2], key[4])) if key[0] == "score" else None
        one, other = (_together([each[key] for each in side]) for side in (before, after))
        found.append(Line(*key, one, other, higher_is_better=way))
    return found


def _together(runs: Sequence[Side]) -> Side:
    """The mean over runs and its standard error; of a single run its own."""
    if len(runs) == 1:
        return runs[0]
    values = np.array([run.value for run in runs])
    return Side(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), len(values) - 1)


def _tested(lines: Sequence[Line], unsure: Collection[str], margins: Mapping[str, float]) -> list[Line]:
    """The same, with p values: of the whole of what is shared, and of the layers, each corrected for their number.

    Args:
        unsure: quantities that cannot be trusted.
        margins: by quantity, how large a change is no news; of a loss relative to what it was.
    """
    found = list(lines)
    for whole in (True, False):
        places = [i for i, line in enumerate(found) if (line.layer in ("", ALL_SHARED)) == whole]
        corrected = holm(np.array([_difference(found[i], margins).p for i in places]))
        for i, p in zip(places, corrected, strict=True):
            none = _difference(found[i], margins).value == 0
            said = False if none else None if math.isnan(p) else bool(p < LEVEL)
            found[i] = replace(found[i], p=float(p), beyond_noise=None if found[i].quantity in unsure else said)
    return found


def _difference(line: Line, margins: Mapping[str, float]) -> Difference:
    """What of the change is beyond the margin."""
    margin = margins.get(line.quantity, 0.0) * (abs(line.before.value) if line.quantity == "loss" else 1.0)
    beyond = math.copysign(max(abs(line.change) - margin, 0.0), line.change)
    return joined(beyond, [(side.se**2, side.dof) for side in (line.before, line.after)])


def _owner(lines: Sequence[Line], side: str) -> str:
    owned = {line.task: getattr(line, side).value for line in lines if line.quantity == "owned"}
    best = max(owned, key=lambda task: owned[task], default=NOBODY)
    return best if owned.get(best, 0.0) > OWNED else NOBODY


def _notes(
    sides: Sequence[Mapping[str, xr.DataTree]],
    trees: Sequence[xr.DataTree],
    common: Sequence[str],
) -> list[str]:
    said = []
    if any(len(side) == 1 for side in sides):
        where = "each side" if all(len(side) == 1 for side in sides) else "one side"
        said.append(
            f"One run on {where}: noise is that of the steps within it, beyond what two seeds commonly differ by (a "
            "tenth of the range of effective tasks, 15 points owned, 0.1 GCD, 15 % of a loss); another seed may differ "
            "by more. To know, give folders of runs with several seeds."
        )
    others = [task for tree in trees for task in _tasks(tree) if task not in common]
    if others:
        said.append(f"Not compared, since not all runs have them: {', '.join(dict.fromkeys(others))}.")
    known = [{str(name) for name in tree.attrs["layers"]} for tree in trees]
    missing = sorted(set().union(*known) - known[0].intersection(*known))
    if missing:
        few = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        said.append(f"Layers that not all runs have: {few}.")
    return said
