"""The result of a training as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dominance.schema import DATA_NAME
from dominance_cli.text import aligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from dominance.benchmarks.benchmark import Scores, Task
    from dominance.benchmarks.trainer import TrainResult

ARROWS = {True: "↑", False: "↓"}


def table(done: TrainResult) -> str:
    """The tasks' metrics on the test data, with the direction that is better; weights, where the method has any."""
    metrics = list(dict.fromkeys(metric for task in done.tasks for metric in task.metrics))
    weights = _weights(done)
    rows = [["task", *(f"{metric.name} {ARROWS[metric.higher_is_better]}" for metric in metrics)]]
    rows[0] += ["weight"] if weights else []
    for task in done.tasks:
        found = done.scores.get(task.name, {})
        rows.append([task.name, *(_number(found.get(metric.name)) for metric in metrics)])
        rows[-1] += [_number(weights.get(task.name))] if weights else []
    return aligned(rows, right=[False, *(True for _ in rows[0][1:])])


def comparison(done: TrainResult, baseline: TrainResult) -> str:
    """Each metric beside that of a baseline and its relative change, and what the papers make of them.

    AdaTask's Δp is said of equal weighting, MoCoGrad's Δ_M and PUB's Δm of single-task learning; of another baseline
    all three are given.
    """
    from dominance.benchmarks.deltas import delta_big_m, delta_m, delta_p

    rows = [["task", "metric", "this", baseline.plan.method.name, "change"]]
    for task in done.tasks:
        for metric in task.metrics:
            ours, theirs = (each.scores.get(task.name, {}).get(metric.name) for each in (done, baseline))
            name = f"{metric.name} {ARROWS[metric.higher_is_better]}"
            change = "-" if ours is None or not theirs else f"{(ours - theirs) / abs(theirs):+.2%}"
            rows.append([task.name, name, _number(ours), _number(theirs), change])
    lines = [aligned(rows, right=[False, False, True, True, True])]
    of = {"equal-weight": (True, False), "stl": (False, True)}
    to_equal, to_single = of.get(baseline.plan.method.name, (True, True))
    measures: list[tuple[str, Callable[[Scores, Scores, tuple[Task, ...]], float]]] = []
    measures += [("Δp ↑ (AdaTask)", delta_p)] if to_equal else []
    measures += [("Δ_M ↑ (MoCoGrad)", delta_big_m), ("Δm ↓ (PUB)", delta_m)] if to_single else []
    scores = (done.scores, baseline.scores, done.tasks)
    lines += [f"{name} against {baseline.path}: {measure(*scores):+.2%}" for name, measure in measures]
    return "\n".join(lines)


def _weights(done: TrainResult) -> dict[str, float]:
    """What each task's gradient was multiplied by at the last recorded step; empty where that is 1 for all."""
    if not (done.path / DATA_NAME).exists():
        return {}
    from dominance.store.reader import open_run

    with open_run(done.path) as run:
        weight = run["loss"].to_dataset()["weight"].to_numpy()
        last = {task: float(weight[-1, k]) for k, task in enumerate(run.attrs["tasks"])} if len(weight) else {}
    known = {task: value for task, value in last.items() if not math.isnan(value)}
    return {} if all(value == 1 for value in known.values()) else known


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
