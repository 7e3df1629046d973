"""GridSearch: fixed weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dominance.optim.engine.checks import known, named_by
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class GridSearch(LossWeighting):
    """Linear scalarisation with fixed weights: one point of a grid search.

        L = Σ_k w_k L_k

    Args:
        weights: task -> weight, zero or more.
        others: the weight of tasks that are not among them; None: there may be no others.

    Raises:
        TypeError: a name is no string.
        ValueError: a weight is negative or not finite, all are zero, or (later) a loss has a task without a weight.

    >>> import torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> GridSearch({"a": 0.5, "b": 1.5}).backward({"a": 2 * w.sum(), "b": (w**2).sum()}, [w])
    >>> w.grad
    tensor([4.])
    """

    def __init__(self, weights: Mapping[str, float], *, others: float | None = None) -> None:
        super().__init__()
        named_by(weights, self)
        self.given = {task: float(weight) for task, weight in weights.items()}
        self.others = others
        every = self.given if others is None else self.given | {"others": float(others)}
        wrong = {task: w for task, w in every.items() if not (w >= 0 and math.isfinite(w))}
        if wrong or not any(every.values()):
            raise ValueError(f"weights must be finite, zero or more, and not all zero: {wrong or self.given}")

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The given weights."""
        if self.others is None:
            known(tuple(self.given), tasks, self)
        return np.array([self.given.get(task, self.others) for task in tasks], dtype=np.float64)

    def __repr__(self) -> str:
        others = "" if self.others is None else f", others={self.others}"
        return f"GridSearch({self.given}{others})"
