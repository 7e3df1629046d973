"""The runs of one script with several methods and seeds, beside the script as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels import t_test
from dominance.analyse.ownership import ownership
from dominance.analyse.runs import runs_of
from dominance.analyse.study.about import labels
from dominance.analyse.study.listing import LAST, SPLITS
from dominance.analyse.study.scores import events, final_scores
from dominance.deltas import Directions
from dominance.errors import DominanceError, NothingRecorded

ALONE = "each alone"
TaskScores = dict[str, dict[str, float]]
Estimate = tuple[float, float]
"""A mean over runs, and half of its 95 % interval (Student's t): NaN with one run."""


@dataclass(frozen=True)
class TriedMethod:
    """One method.

    Attributes:
        method: what it is called.
        n: how many runs there are.
        scores: by task and metric.
        delta: mean relative change over all metrics against the script as it is (AdaTask's Δp).
        alone: the same against each task alone (MoCoGrad's Δ_M).
        seconds, memory: means over the runs.
        owner: the task that owns most of the shared parameters, and its share of them; "" where it is not known.
    """

    method: str
    n: int
    scores: dict[tuple[str, str], Estimate]
    delta: Estimate
    alone: Estimate
    seconds: float
    memory: float
    owner: tuple[str, float]


@dataclass(frozen=True)
class Trials:
    """All of them.

    Attributes:
        rows: one for each method; last ``ALONE``, where there are such runs: of every task the scores of its own.
        scores: in the form of ``final_scores``.
        undirected: metrics of which nobody says which direction is better: no Δ counts them.
        split: of the metrics; "" where losses are compared.
        scored: where losses are compared, the tasks of which a metric was logged all the same, though not of all.
    """

    rows: list[TriedMethod]
    scores: xr.Dataset
    undirected: list[str] = field(default_factory=list)
    split: str = ""
    scored: list[str] = field(default_factory=list)


def trials(
    runs: Mapping[str, xr.DataTree],
    methods: Mapping[str, str],
    *,
    reference: str,
    seeds: Mapping[str, int] | None = None,
    single: Mapping[str, Sequence[str]] | None = None,
    higher_is_better: Directions | None = None,
) -> Trials:
    """Compare methods on one script.

    What is compared are the metrics that the runs logged, of the first split of ``SPLITS`` that all of them have. If
    there is none, it is the losses: each is the mean over the last fifth of the recorded steps, without the weights
    that the script or a method gives it.

    Args:
        runs: by name.
        methods: name of a run -> what its method is called, the same for all seeds.
        reference: the method that the others are compared with.
        seeds: name of a run -> its seed. A run is compared with those of its own seed where there are some, else with
            the mean over all.
        single: task -> names of the runs of that task alone.
        higher_is_better: direction of metrics that the runs do not declare.

    Raises:
        NothingRecorded: there is no run of the reference.
    """
    named = dict(runs_of(runs))
    singles = {task: [name for name in names if name in named] for task, names in (single or {}).items()}
    lone = {name for names in singles.values() for name in names}
    mine = [name for name in named if name not in lone]
    base = [name for name in mine if methods[name] == reference]
    if not base:
        raise NothingRecorded("the script as it is has left no run", fix="see the log beside where it would lie")
    scores, split, scored = _scores(named, higher_is_better)
    called = [methods.get(str(name), "") for name in scores["run"].values]
    scores = scores.assign_coords(method=("run", labels(called)))
    lone_of = {task: names for task, names in singles.items() if names}
    rows = []

    def of_seed(names: Sequence[str], run: str) -> list[str]:
        own = [name for name in names if seeds is not None and seeds.get(name) == seeds.get(run, -1)]
        return own or list(names)

    def against(run: str) -> tuple[TaskScores, TaskScores]:
        alone = {task: _means(scores, of_seed(names, run)).get(task, {}) for task, names in lone_of.items()}
        return ({} if methods[run] == reference else _means(scores, of_seed(base, run))), alone

    for method in dict.fromkeys(methods[name] for name in mine):
        names = [name for name in mine if methods[name] == method]
        rows.append(_row(method, {name: named[name] for name in names}, scores, against))
    if lone_of:
        rows.append(_alone(lone_of, named, scores))
    return Trials(rows, scores.sel(run=mine), _undirected(scores), split, scored)


def _row(
    method: str,
    runs: Mapping[str, xr.DataTree],
    scores: xr.Dataset,
    against: Callable[[str], tuple[TaskScores, TaskScores]],
) -> TriedMethod:
    names = list(runs)
    known = {}
    for task in scores["task"].values.tolist():
        for metric in scores["metric"].values.tolist():
            values = scores["value"].sel(task=task, metric=metric, run=names).to_numpy()
            if np.isfinite(values).any():
                known[task, metric] = mean_of(values[np.isfinite(values)])
    changes = [[_change(_means(scores, [name]), base, scores) for base in against(name)] for name in names]
    seconds = [float(run.attrs.get("seconds", np.nan)) for run in runs.values()]
    return TriedMethod(
        method,
        len(names),
        known,
        mean_of(np.array([change for change, _ in changes])),
        mean_of(np.array([change for _, change in changes])),
        float(np.mean(seconds)),
        float(np.mean([_memory(run) for run in runs.values()])),
        owner_of(list(runs.values())),
    )


def _alone(lone: Mapping[str, Sequence[str]], runs: Mapping[str, xr.DataTree], scores: xr.Dataset) -> TriedMethod:
    """Every task's scores in the runs of it alone, as many as there are of each; what all of them take together."""
    of_task = {
        task: _row(ALONE, {name: runs[name] for name in names}, scores, _nothing) for task, names in lone.items()
    }
    unknown = np.nan, np.nan
    return TriedMethod(
        ALONE,
        min(row.n for row in of_task.values()),
        {key: value for task, row in of_task.items() for key, value in row.scores.items() if key[0] == task},
        unknown,
        unknown,
        float(np.sum([row.seconds for row in of_task.values()])),
        float(np.max([row.memory for row in of_task.values()])),
        ("", np.nan),
    )


def _nothing(run: str) -> tuple[TaskScores, TaskScores]:
    return {}, {}


def _scores(runs: Mapping[str, xr.DataTree], given: Directions | None) -> tuple[xr.Dataset, str, list[str]]:
    """Of the first split that has a metric of each task in each run; else the losses, and the tasks that have some."""
    logged = {name: events(run)[["split", "task"]] for name, run in runs.items()}
    for split in SPLITS:
        whole = all(
            set(map(str, run.attrs["tasks"])) <= set(logged[name].loc[logged[name]["split"] == split, "task"])
            for name, run in runs.items()
        )
        if whole:
            return final_scores(dict(runs), split=split, higher_is_better=given), split, []
    found = {task for table in logged.values() for task in table["task"]}
    return _losses(runs), "", [task for task in _tasks(runs) if task in found]


def _tasks(runs: Mapping[str, xr.DataTree]) -> list[str]:
    return list(dict.fromkeys(str(task) for run in runs.values() for task in run.attrs["tasks"]))


def _losses(runs: Mapping[str, xr.DataTree]) -> xr.Dataset:
    tasks = _tasks(runs)
    value = np.full((len(runs), len(tasks), 1), np.nan)
    for i, run in enumerate(runs.values()):
        for task in map(str, run.attrs["tasks"]):
            values = run["loss/loss"].sel(task=task).to_numpy()
            last = values[-max(1, len(values) // LAST) :]
            value[i, tasks.index(task), 0] = float(np.nanmean(last)) if np.isfinite(last).any() else np.nan
    return xr.Dataset(
        {"value": (("run", "task", "metric"), value)},
        coords={
            "run": labels(runs),
            "task": labels(tasks),
            "metric": labels(["loss"]),
            "direction": (("task", "metric"), np.full((len(tasks), 1), "lower", dtype=object)),
        },
    )


def _undirected(scores: xr.Dataset) -> list[str]:
    found = []
    for metric in scores["metric"].values.tolist():
        there = np.isfinite(scores["value"].sel(metric=metric).transpose("task", "run").to_numpy()).any(axis=1)
        ways = scores["direction"].sel(metric=metric).to_numpy().tolist()
        if any(known and not str(way) for known, way in zip(there.tolist(), ways, strict=True)):
            found.append(str(metric))
    return found


def _means(scores: xr.Dataset, names: Sequence[str]) -> TaskScores:
    found: TaskScores = {}
    for task in scores["task"].values.tolist() if names else []:
        for metric in scores["metric"].values.tolist():
            values = scores["value"].sel(task=task, metric=metric, run=list(names)).to_numpy()
            if np.isfinite(values).any():
                found.setdefault(task, {})[metric] = float(np.nanmean(values))
    return found


def _change(ours: TaskScores, theirs: TaskScores, scores: xr.Dataset) -> float:
    """Mean relative change for the better, over all metrics with a direction: the formula of Δp and of Δ_M."""
    gains = []
    for task, metrics in theirs.items():
        for metric, base in metrics.items():
            way = str(scores["direction"].sel(task=task, metric=metric).item())
            if way and base:
                gain = (ours.get(task, {}).get(metric, np.nan) - base) / abs(base)
                gains.append(gain if way == "higher" else -gain)
    return float(np.mean(gains)) if gains else np.nan


def mean_of(values: NDArray[np.float64]) -> Estimate:
    """The mean, and half of its 95 % interval (Student's t): NaN of one value.

    >>> mean_of(np.array([1.0, 3.0]))
    (2.0, 12.706...)
    """
    found = t_test.mean(values)
    low, high = found.interval(0.95)
    return found.value, (high - low) / 2


def _memory(run: xr.DataTree) -> float:
    used = run.attrs.get("peak_memory") or {}
    return float(max(used.values())) if used else np.nan


def owner_of(runs: Sequence[xr.DataTree]) -> tuple[str, float]:
    """The task that owns most of the shared parameters at the end, and its mean share of them; "", NaN for nobody."""
    shares: dict[str, list[float]] = {}
    for run in runs:
        try:
            owned = ownership(run, by="all", points=1).share
        except DominanceError:
            continue  # nothing is shared, or no step can be used: then nobody is known to own anything
        for task in owned["task"].values.tolist():
            shares.setdefault(str(task), []).append(float(owned.sel(task=task).values.ravel()[-1]))
    if not shares:
        return "", np.nan
    best = max(shares, key=lambda task: float(np.nanmean(shares[task])))
    return best, float(np.nanmean(shares[best]))
