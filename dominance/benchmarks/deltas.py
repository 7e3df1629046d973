"""The three papers' measures of relative change (``dominance.deltas``) between the scores of two trainings.

Which metrics there are, and which direction of them is better, comes from the tasks' own declaration.
"""

from __future__ import annotations

from collections.abc import Iterable

from dominance import deltas
from dominance.benchmarks.benchmark import Task
from dominance.deltas import Table


def delta_p(scores: Table, equal_weight: Table, tasks: Iterable[Task]) -> float:
    """AdaTask's Δp against equal weighting: :func:`dominance.deltas.delta_p`. Higher is better.

    Raises:
        BadData: a score is missing, or the baseline's is 0.
    """
    return deltas.delta_p(scores, equal_weight, _directions(tasks))


def delta_big_m(scores: Table, single_task: Table, tasks: Iterable[Task]) -> float:
    """MoCoGrad's Δ_M against single-task learning: :func:`dominance.deltas.delta_big_m`. Higher is better.

    Raises:
        BadData: a score is missing, or the baseline's is 0.
    """
    return deltas.delta_big_m(scores, single_task, _directions(tasks))


def delta_m(scores: Table, single_task: Table, tasks: Iterable[Task]) -> float:
    """PUB's Δm against single-task learning: :func:`dominance.deltas.delta_m`. Lower is better.

    Raises:
        BadData: a score is missing, or the baseline's is 0.
    """
    return deltas.delta_m(scores, single_task, _directions(tasks))


def _directions(tasks: Iterable[Task]) -> dict[str, dict[str, bool]]:
    return {task.name: {metric.name: metric.higher_is_better for metric in task.metrics} for task in tasks}
