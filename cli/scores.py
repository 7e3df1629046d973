"""The result of a training as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dominance_cli.text import aligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from dominance.benchmarks.train.trainer import TrainResult

ARROWS = {True: "↑", False: "↓"}


def table(done: TrainResult) -> str:
    """The tasks' metrics on the test data, with the direction that is better."""
    metrics = list(dict.fromkeys(metric for task in done.tasks for metric in task.metrics))
    rows = [["task", *(f"{metric.name} {ARROWS[metric.higher_is_better]}" for metric in metrics)]]
    for task in done.tasks:
        found = done.scores.get(task.name, {})
        rows.append([task.name, *(_number(found.get(metric.name)) for metric in metrics)])
    return aligned(rows, right=[False, *(True for _ in rows[0][1:])])


def comparison(done: TrainResult, baseline: TrainResult) -> str:
    """Each metric beside that of a baseline and its relative change, and what the papers make of them.

    AdaTask's Δp is said of equal weighting, MoCoGrad's Δ_M and PUB's Δm of single-task learning; of another baseline
    all three are given.
    """
    from dominance.benchmarks.benchmark import directions
    from dominance.deltas import Directions, Table, delta_big_m, delta_m, delta_p
    from dominance.errors import BadData

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
    measures: list[tuple[str, Callable[[Table, Table, Directions], float]]] = []
    measures += [("Δp ↑ (AdaTask)", delta_p)] if to_equal else []
    measures += [("Δ_M ↑ (MoCoGrad)", delta_big_m), ("Δm ↓ (PUB)", delta_m)] if to_single else []
    scores = (done.scores, baseline.scores, directions(done.tasks))
    for name, measure in measures:
        try:
            lines.append(f"{name} against {baseline.path}: {measure(*scores):+.2%}")
        except BadData as error:
            lines.append(f"{name} against {baseline.path}: - ({error.message})")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
