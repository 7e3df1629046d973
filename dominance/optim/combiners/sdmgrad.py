"""SDMGrad: the direction of MGDA, drawn towards the mean gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import min_norm


class SDMGrad(Weighting):
    """The common descent direction, regularised by the mean gradient g0 (Xiao, Ban and Ji, 2023).

        w = argmin over the simplex of |Σ_k w_k g_k + λ g0|²,    g = (Σ_k w_k g_k + λ g0) / (1 + λ)

    λ = 0 is MGDA, and with λ growing g becomes the mean. The authors estimate w by some steps of projected gradient
    descent whose gradients come from two batches of their own, so that products of noise average out; here the problem
    is solved exactly on the one batch that there is, as MGDA's and CAGrad's are. The result is the size of a mean, not
    of a sum. Parameters of one task alone are fed their plain gradients.

    Args:
        lam: λ, not negative; 0.3.

    Raises:
        ValueError: λ is negative.
    """

    def __init__(self, lam: float = 0.3) -> None:
        super().__init__()
        if not lam >= 0:
            raise ValueError(f"lam is {lam}; it must not be negative")
        self.lam = lam

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """(w_k + λ / K) / (1 + λ).

        Raises:
            SolverFailed: see ``min_norm``.
        """
        k = len(tasks)
        drawn = np.eye(k) + self.lam / k  # Σ w = 1: the sum is one of g_k + λ g0
        moved = drawn @ gram @ drawn.T
        np.fill_diagonal(moved, np.maximum(np.diagonal(moved), 0.0))
        return np.asarray((min_norm(moved) + self.lam / k) / (1 + self.lam))

    def __repr__(self) -> str:
        return f"SDMGrad(lam={self.lam})"
