"""The result of a training as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dominance_cli.text import aligned

if TYPE_CHECKING:
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
    """Each metric beside that of a baseline, and by how much it is better, in percent of the baseline's."""
    rows = [["task", "metric", "this", baseline.plan.method.name, "better by"]]
    for task in done.tasks:
        for metric in task.metrics:
            ours, theirs = (each.scores.get(task.name, {}).get(metric.name) for each in (done, baseline))
            name = f"{metric.name} {ARROWS[metric.higher_is_better]}"
            rows.append([task.name, name, _number(ours), _number(theirs), ""])
            if ours is not None and theirs:
                better = (ours - theirs) / abs(theirs) * (100 if metric.higher_is_better else -100)
                rows[-1][-1] = f"{better:+.2f} %"
    return aligned(rows, right=[False, False, True, True, True])


def _weights(done: TrainResult) -> dict[str, float]:
    """What each task's gradient was multiplied by at the last recorded step; empty where that is 1 for all."""
    from dominance.errors import DominanceError
    from dominance.store.reader import open_run

    try:
        run = open_run(done.path)
    except DominanceError:
        return {}
    with run:
        weight = run["loss"].to_dataset()["weight"].to_numpy()
        last = {task: float(weight[-1, k]) for k, task in enumerate(run.attrs["tasks"])} if len(weight) else {}
    known = {task: value for task, value in last.items() if not math.isnan(value)}
    return {} if all(value == 1 for value in known.values()) else known


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
