"""What one backward() call was found to be made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from dominance.record import answers
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
    structure: object = None
    """Where all that reaches a task's parameters is a task: one object for all losses that come apart like this one."""


@dataclass
class WeightedTerms:
    """The terms of one task, each with its exact weight and its value; None where that is not known."""

    name: str
    edges: list[Edge]
    gradients: list[Tensor]
    values: Sequence[Tensor | None]


def tasks_of(each: Sequence[WeightedTerms]) -> list[FoundTask]:
    """The tasks that are made of these terms."""
    plain = [_is_plain(terms) for terms in each]
    measured = [_numbers(terms) if at_once else _measured(terms) for terms, at_once in zip(each, plain, strict=True)]
    told = iter(answers.numbers([scalar for scalars in measured for scalar in scalars if scalar is not None]))
    found = []
    for terms, scalars, at_once in zip(each, measured, plain, strict=True):
        numbers = [math.nan if scalar is None else next(told) for scalar in scalars]
        found.append(_task(terms, _of_numbers(numbers) if at_once else numbers))
    return found


def _is_plain(terms: WeightedTerms) -> bool:
    """Whether its weights and values are single numbers, of which all else is worked out when they are read."""
    held = [*terms.gradients, *(value for value in terms.values if value is not None)]
    return all(tensor.numel() == 1 and tensor.is_floating_point() for tensor in held)


def _numbers(terms: WeightedTerms) -> list[Tensor | None]:
    """The weights, and the values."""
    return [*terms.gradients, *terms.values]


def _of_numbers(numbers: Sequence[float]) -> list[float]:
    """What ``_measured`` makes of them."""
    weights, values = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
    parts = [weight * value for weight, value in zip(weights, values, strict=True)]
    return [*weights, *map(abs, weights), *parts, *values]


def _measured(terms: WeightedTerms) -> list[Tensor | None]:
    """Scalars: of all weights the sum, and the sum of the sizes; of each term its part of the loss; its mean value."""
    wide = [gradient.detach().to(answers.widest(gradient)) for gradient in terms.gradients]
    values = [None if value is None else value.detach().to(answers.widest(value)) for value in terms.values]
    parts = [
        None if value is None or not _fits(value, gradient) else (gradient * value).sum()
        for gradient, value in zip(wide, values, strict=True)
    ]
    means = [None if value is None else value.mean() for value in values]
    return [*(w.sum() for w in wide), *(w.abs().sum() for w in wide), *parts, *means]


def _fits(value: Tensor, gradient: Tensor) -> bool:
    return value.shape == gradient.shape or value.numel() == 1 == gradient.numel()


def _task(terms: WeightedTerms, told: Sequence[float]) -> FoundTask:
    n = len(terms.gradients)
    weight, size, scaled = (sum(told[i * n : (i + 1) * n]) for i in range(3))
    if size == 0:
        # Switched off for now: the loss is what it would be at weight 1, or the mean of its samples.
        return FoundTask(terms.name, terms.edges, terms.gradients, 0.0, sum(told[3 * n :]) / n)
    if abs(weight) <= 1e-12 * size:
        # Weights that cancel define no mean loss: the sum is then the loss, at weight 1.
        weight = 1.0
    return FoundTask(terms.name, terms.edges, terms.gradients, weight, scaled / weight)
