"""MGDA: the shortest vector in the convex hull of the task gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dominance.optim.engine.checks import positive
from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import min_norm

Normalization = Literal["l2", "loss", "loss+"] | None


class MGDA(Weighting):
    """Weights on the simplex that make Σ w_k g_k shortest: it helps all tasks, or is zero (Pareto stationary).

    Solved exactly (``solvers.simplex.min_norm``). MGDA-UB, the upper bound of Sener and Koltun, is the same with the
    gradients with respect to what the shared trunk puts out: ``backward(losses, parameters, representation=z)``.

    The whole loss is weighted, so parameters of one task alone are fed their gradient times the task's weight. A task
    whose gradient is zero takes all the weight: the shortest vector is then zero.

    Args:
        normalization: what the gradients are divided by before the weights are sought: nothing, their norm ("l2"),
            the task's loss ("loss"), or both ("loss+"). The weights then stand before the losses as they are, as in the
            authors' code.

    Raises:
        ValueError: the normalization is unknown.

    Source: Désidéri 2012; Sener and Koltun 2018 (Algorithm 2; the upper bound in Sec. 3.3).
    """

    heads = "weighted"

    def __init__(self, normalization: Normalization = None) -> None:
        super().__init__()
        if normalization not in (None, "l2", "loss", "loss+"):
            raise ValueError(f"normalization is {normalization!r}; give None, 'l2', 'loss' or 'loss+'")
        self.normalization = normalization

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The weights of the shortest vector, >= 0, with sum 1.

        Raises:
            ValueError: gradients are to be divided by losses that are not positive.
            SolverFailed: see ``min_norm``.
        """
        if self.normalization is None:
            return min_norm(gram)
        size = np.ones(len(tasks))
        if self.normalization in ("l2", "loss+"):
            norms = np.sqrt(np.diagonal(gram))
            size *= np.where(norms > 0, norms, 1)
        if self.normalization in ("loss", "loss+"):
            positive(losses, tasks, self, f"normalization={self.normalization!r} divides by them")
            size *= losses
        return min_norm(gram / size / size[:, None])

    def __repr__(self) -> str:
        return f"MGDA(normalization={self.normalization!r})"
