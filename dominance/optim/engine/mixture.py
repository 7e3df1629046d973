"""Task gradients, how they are to be mixed, and what becomes of the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dominance.optim.engine.listeners import listeners
from dominance.optim.engine.scaling import times
from dominance.optim.engine.task_gradients import Matrix, Row, TaskGradients, named


class Mixture(Protocol):
    """Task gradients and how they are to be mixed. The sum and the rows are computed only where they are wanted."""

    gradients: TaskGradients

    def total(self) -> Row:
        """The sum of the manipulated gradients: what an ordinary optimizer is fed."""

    def rows(self) -> TaskGradients:
        """The manipulated gradient of each task."""

    def weights(self) -> dict[str, float] | None:
        """What each task's gradient was multiplied by, if that is all that was done."""


class MatrixMixture:
    """C G. The sum needs the column sums of C alone.

    Args:
        matrix: C, shape (K, K).
        heads: factor on each task's gradient of the parameters of that task alone, shape (K,).
    """

    def __init__(self, gradients: TaskGradients, matrix: Matrix, heads: Matrix) -> None:
        self.gradients = gradients
        self.matrix = matrix
        self._diagonal = diagonal_of(matrix)
        self._heads = heads

    def total(self) -> Row:
        return self.gradients.total(self.matrix.sum(axis=0), self._heads)

    def rows(self) -> TaskGradients:
        return self.gradients.mixed(self.matrix, self._heads)

    def weights(self) -> dict[str, float] | None:
        return None if self._diagonal is None else named(self.gradients.tasks, self._diagonal)


class Rows:
    """Manipulated gradients that are there already, as a mixture.

    Args:
        gradients: of each task, manipulated.
    """

    def __init__(self, gradients: TaskGradients) -> None:
        self.gradients = gradients

    def total(self) -> Row:
        return self.gradients.total()

    def rows(self) -> TaskGradients:
        return self.gradients

    def weights(self) -> None:
        return None


def tell(mixture: Mixture, scale: float | None) -> None:
    """Tell the listeners what is in ``.grad``."""
    if not listeners:
        return
    effective, weights = mixture.rows(), mixture.weights()
    if scale is not None:
        effective = replace(effective, rows=[times(row, scale) for row in effective.rows])
        weights = None if weights is None else {task: weight * scale for task, weight in weights.items()}
    for listener in listeners:
        listener.effective(effective, weights)


def accumulate(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Add each gradient to its parameter's ``.grad``, as ``backward()`` does."""
    into: list[Tensor] = []
    added: list[Tensor] = []
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is not None:
                into.append(parameter.grad)
                added.append(gradient)
            elif gradient.stride() == parameter.stride():  # a copy: others hold what we were lent
                parameter.grad = gradient.detach().clone()
            else:
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
        if into:
            torch._foreach_add_(into, added)


def diagonal_of(matrix: Matrix) -> Matrix | None:
    """The diagonal of C, if C is diagonal."""
    diagonal = np.diagonal(matrix)
    return diagonal.copy() if np.count_nonzero(matrix) == np.count_nonzero(diagonal) else None
