"""How much better or worse than a baseline, over all tasks: one formula from each of the three papers.

All three compare scores {task: {metric: value}} with a baseline's, metric by metric, as a relative change. They differ
in the baseline, in how metrics are averaged, and in the sign::

    delta_p   AdaTask           against EqualWeight    mean over all metrics            positive is better
    delta_M   MoCoGrad, Eq. 27  against single-task    mean over all metrics            positive is better
    delta_m   PUB, Sec. VI-A    against single-task    mean within a task, then over    NEGATIVE is better
                                                       the tasks

Which direction of a metric is better is declared: ``directions`` says True where higher is, as {task: {metric: bool}},
or as {metric: bool} for all tasks alike that have a score of it. What it names is what is compared. The result is a
share: 0.0934 is 9.34 %. The papers divide by the baseline's value, which is positive for all their metrics. Here it is
the absolute value, so that a negative loss does not turn the sign around.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from dominance.errors import BadData

Table = Mapping[str, Mapping[str, float]]
Directions = Mapping[str, Mapping[str, bool]] | Mapping[str, bool]


def declare(metric: str) -> str:
    """What to do about a metric of which no run says which direction is better, by the command line and in Python.

    >>> declare("r2")
    'say --higher-is-better r2 or --lower-is-better r2; in Python, higher_is_better={"r2": True} or False'
    """
    words = f"say --higher-is-better {metric} or --lower-is-better {metric}"
    return f'{words}; in Python, higher_is_better={{"{metric}": True}} or False'


def delta_p(scores: Table, equal_weight: Table, directions: Directions) -> float:
    """AdaTask's Δp: 1/P Σ_p (-1)^I_p (M_p - M_EqualWeight,p) / M_EqualWeight,p over all P metrics of all tasks.

    I_p = 0 if higher is better. Higher is better of the result.

    Raises:
        BadData: a score is missing, or the baseline's is 0.

    >>> delta_p({"a": {"error": 0.8}}, {"a": {"error": 1.0}}, {"error": False})
    0.19999999999999996
    """
    return fmean(gain for gains in _gains(scores, equal_weight, directions) for gain in gains)


def delta_big_m(scores: Table, single_task: Table, directions: Directions) -> float:
    """MoCoGrad's Δ_M (Eq. 27): 1/K Σ_k (-1)^s_k (M_m,k - M_b,k) / M_b,k, with s_k = 0 if higher is better.

    K is written as the number of tasks and the text says "on each metric of each task". The printed tables settle it:
    for tasks with several metrics (Tables III and IV) they are the mean over all metrics. Higher is better of the
    result.

    Raises:
        BadData: a score is missing, or the baseline's is 0.

    >>> delta_big_m({"a": {"auc": 0.75}}, {"a": {"auc": 0.5}}, {"a": {"auc": True}})
    0.5
    """
    return fmean(gain for gains in _gains(scores, single_task, directions) for gain in gains)


def delta_m(scores: Table, single_task: Table, directions: Directions) -> float:
    """PUB's Δm: the mean over the tasks of Δm_task = 1/#p Σ_p (-1)^I_p (M_m,p - M_STL,p) / M_STL,p.

    I_p = 0 if LOWER is better: a drop. Lower is better of the result. The values that the paper prints in Table VII are
    a third of what this formula gives: with three tasks, the mean over the tasks was divided by three once more.

    Raises:
        BadData: a score is missing, or the baseline's is 0.

    >>> delta_m({"a": {"auc": 0.75}}, {"a": {"auc": 0.5}}, {"a": {"auc": True}})
    -0.5
    """
    return -fmean(fmean(gains) for gains in _gains(scores, single_task, directions))


def by_task(scores: Table, directions: Directions) -> dict[str, dict[str, bool]]:
    """The directions as {task: {metric: bool}}; those of all tasks alike go to every task that has the metric."""
    found: dict[str, dict[str, bool]] = {}
    for name, value in directions.items():
        if isinstance(value, Mapping):
            found.setdefault(name, {}).update(value)
        else:
            for task, metrics in scores.items():
                if name in metrics:
                    found.setdefault(task, {})[name] = bool(value)
    return found


def _gains(scores: Table, baseline: Table, directions: Directions) -> list[list[float]]:
    """Relative change of each metric of each task, positive where it is better."""
    found = [
        [_gain(scores, baseline, task, metric, higher) for metric, higher in metrics.items()]
        for task, metrics in by_task(scores, directions).items()
    ]
    if not any(found):
        raise BadData("there is no metric to compare", fix="name the metrics of the tasks in `directions`")
    return [gains for gains in found if gains]


def _gain(scores: Table, baseline: Table, task: str, metric: str, higher: bool) -> float:
    value, base = (_score(table, task, metric) for table in (scores, baseline))
    if base == 0:
        raise BadData(f"the baseline's {metric} of task {task} is 0: nothing can be relative to it")
    change = (value - base) / abs(base)
    return change if higher else -change


def _score(table: Table, task: str, metric: str) -> float:
    try:
        return table[task][metric]
    except KeyError:
        raise BadData(f"there is no {metric} of task {task}", fix="evaluate both runs on the same tasks") from None
