"""What one backward() call was found to be made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from dominance.record.tasks.graph import Edge


@dataclass
class FoundTask:
    """One task of one backward() call."""

    name: str
    edges: list[Edge]
    gradients: list[Tensor]
    """For each edge, the derivative of the root by it: the exact weight of the term."""
    weight: float
    """Sum of the weights: the task's gradient is this times the gradient of its loss."""
    loss: float
    """The task's own loss, unweighted; NaN where its tensor is gone and cannot be worked out again."""


@dataclass
class Found:
    """What one backward() call is made of."""

    root_name: str
    tasks: list[FoundTask]
    residual: list[str]
    """Names of the terms that reach recorded parameters and are no task: regularisers."""
    separate: list[str] = field(default_factory=list)
    """Names of terms made from data that share no parameter with another term."""
    expanded: bool = False
    """Whether the walk went on below a named tensor because it was the only task."""
    total: float = math.nan
    words: list[str] = field(default_factory=list)
    """What the user should know of how the tasks were told apart; each is said once."""
    beside: list[FoundTask] = field(default_factory=list)
    """The terms of ``residual`` and ``separate``."""
    columns: int | None = None
    """How many columns the one output has that the only loss is computed of; None where there is no such output."""
    below_columns: list[Tensor] = field(default_factory=list)
    """The parameters of what puts that output out."""
    losses: dict[str, str] = field(default_factory=dict)
    """Of a pass that starts below the losses: the loss that each task's gradient was taken of."""
    totals: dict[str, float] = field(default_factory=dict)
    """The values of those losses."""
    by_shares: bool = False
    """Whether tasks are shares of the gradient through one tensor."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many examples or tokens each task has, where tasks are groups of them."""
    unit: str = ""
    """What is counted."""
    nameless_sum: bool = False
    """Whether it is a sum of several losses of which neither it nor any of them has a name: told as one task."""


def task_of(name: str, edges: list[Edge], gradients: list[Tensor], values: Sequence[Tensor | None]) -> FoundTask:
    """A task of these terms, each with its exact weight and its value."""
    weight = sum(float(gradient.detach().double().sum()) for gradient in gradients)
    scaled = 0.0
    for gradient, value in zip(gradients, values, strict=True):
        same = value is not None and (value.shape == gradient.shape or value.numel() == 1 == gradient.numel())
        term = math.nan if value is None or not same else float((gradient.double() * value.double()).sum())
        scaled += term
    size = sum(float(gradient.detach().double().abs().sum()) for gradient in gradients)
    if size == 0:
        # Switched off for now: the loss is what it would be at weight 1, or the mean of its samples.
        means = [math.nan if value is None else float(value.double().mean()) for value in values]
        return FoundTask(name, edges, gradients, 0.0, sum(means) / len(means))
    if abs(weight) <= 1e-12 * size:
        # Weights that cancel define no mean loss: the sum is then the loss, at weight 1.
        weight = 1.0
    return FoundTask(name, edges, gradients, weight, scaled / weight)
