"""How much better or worse than a baseline, over all tasks: one formula from each of the three papers.

All three compare scores {task: {metric: value}} with a baseline's, metric by metric, as a relative change. They differ
in the baseline, in how metrics are averaged, and in the sign::

    delta_p   AdaTask           against EqualWeight    mean over all metrics            positive is better
    delta_M   MoCoGrad, Eq. 27  against single-task    mean over all metrics            positive is better
    delta_m   PUB, Sec. VI-A    against single-task    mean within a task, then over    NEGATIVE is better
                                                       the tasks

Which direction of a metric is better comes from the tasks' own declaration. The result is a share: 0.0934 is 9.34 %.
The papers divide by the baseline's value, which is positive for all their metrics. Here it is the absolute value, so
that a negative loss does not turn the sign around.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from dominance.benchmarks.benchmark import Task
from dominance.errors import BadData

Table = Mapping[str, Mapping[str, float]]


def delta_p(scores: Table, equal_weight: Table, tasks: Iterable[Task]) -> float:
    """AdaTask's Δp: 1/P Σ_p (-1)^I_p (M_p - M_EqualWeight,p) / M_EqualWeight,p over all P metrics of all tasks.

    I_p = 0 if higher is better. Higher is better of the result.

    Raises:
        BadData: a score is missing, or the baseline's is 0.
    """
    return fmean(gain for task in tasks for gain in _gains(scores, equal_weight, task))


def delta_big_m(scores: Table, single_task: Table, tasks: Iterable[Task]) -> float:
    """MoCoGrad's Δ_M (Eq. 27): 1/K Σ_k (-1)^s_k (M_m,k - M_b,k) / M_b,k, with s_k = 0 if higher is better.

    K is written as the number of tasks and the text says "on each metric of each task". The printed tables settle it:
    for tasks with several metrics (Tables III and IV) they are the mean over all metrics. Higher is better of the
    result.

    Raises:
        BadData: a score is missing, or the baseline's is 0.
    """
    return fmean(gain for task in tasks for gain in _gains(scores, single_task, task))


def delta_m(scores: Table, single_task: Table, tasks: Iterable[Task]) -> float:
    """PUB's Δm: the mean over the tasks of Δm_task = 1/#p Σ_p (-1)^I_p (M_m,p - M_STL,p) / M_STL,p.

    I_p = 0 if LOWER is better: a drop. Lower is better of the result. The values that the paper prints in Table VII are
    a third of what this formula gives: with three tasks, the mean over the tasks was divided by three once more.

    Raises:
        BadData: a score is missing, or the baseline's is 0.
    """
    return -fmean(fmean(_gains(scores, single_task, task)) for task in tasks)


def _gains(scores: Table, baseline: Table, task: Task) -> list[float]:
    """Relative change of each of the task's metrics, positive where it is better."""
    found = []
    for metric in task.metrics:
        value, base = (_score(table, task.name, metric.name) for table in (scores, baseline))
        if base == 0:
            raise BadData(f"the baseline's {metric.name} of task {task.name} is 0: nothing can be relative to it")
        change = (value - base) / abs(base)
        found.append(change if metric.higher_is_better else -change)
    return found


def _score(table: Table, task: str, metric: str) -> float:
    try:
        return table[task][metric]
    except KeyError:
        raise BadData(f"there is no {metric} of task {task}", fix="evaluate both runs on the same tasks") from None
