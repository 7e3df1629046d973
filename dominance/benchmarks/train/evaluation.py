"""How well a model does: the metrics of every task over a whole split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from dominance.benchmarks.benchmark import Benchmark, Scores, Task


def evaluate(
    benchmark: Benchmark,
    model: nn.Module,
    split: str,
    *,
    tasks: Iterable[str],
    batch_size: int,
    device: str = "cpu",
) -> Scores:
    """The metrics of these tasks on a split; a task that has no label there is left out.

    The model is put into evaluation mode meanwhile, and left in the mode it was in.
    """
    scorers = {task: benchmark.scorer(task) for task in tasks}
    samples = dict.fromkeys(scorers, 0)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in benchmark.batches(split, max(batch_size, benchmark.evaluation_batch)):
                for task, output in benchmark.outputs(model, batch.to(device)).items():
                    if task in scorers and task in batch.targets:
                        target = batch.targets[task].cpu()
                        labelled = has_label(target)
                        scorers[task].add(output.cpu()[labelled], target[labelled])
                        samples[task] += int(labelled.sum())
    finally:
        model.train(training)
    return {task: scorer.scores() for task, scorer in scorers.items() if samples[task]}


def mean_of(several: Sequence[Scores]) -> Scores:
    """Of each task's metrics, over several evaluations; of those that have it.

    >>> mean_of([{"a": {"auc": 0.5}}, {"a": {"auc": 0.75}}])
    {'a': {'auc': 0.625}}
    """
    found: dict[str, dict[str, list[float]]] = {}
    for scores in several:
        for task, metrics in scores.items():
            for metric, value in metrics.items():
                found.setdefault(task, {}).setdefault(metric, []).append(value)
    return {task: {name: sum(v) / len(v) for name, v in metrics.items()} for task, metrics in found.items()}


def has_label(target: Tensor) -> Tensor:
    """For each sample, whether it has a label: not NaN; of classes, not -1. One that has some entries has a label.

    >>> has_label(torch.tensor([1.0, float("nan")])), has_label(torch.tensor([-1, 3]))
    (tensor([ True, False]), tensor([False,  True]))
    """
    there = ~torch.isnan(target) if target.is_floating_point() else target != -1
    return there.flatten(1).any(dim=1) if there.dim() > 1 else there


def standing(scores: Scores, tasks: Sequence[Task]) -> float:
    """The mean of the tasks' main metrics, each with the sign that makes more better; -inf if one is not a number.

    >>> from dominance.benchmarks.benchmark import Metric
    >>> auc, error = Task("a", 1, (Metric("auc", True),)), Task("b", 1, (Metric("error", False),))
    >>> standing({"a": {"auc": 0.75}, "b": {"error": 0.25}}, [auc, error])
    0.25
    """
    values = []
    for task in tasks:
        if task.name in scores:
            main = task.metrics[0]
            values.append(scores[task.name][main.name] * (1 if main.higher_is_better else -1))
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else -math.inf
