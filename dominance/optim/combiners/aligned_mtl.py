"""Aligned-MTL: gradients whose system is made orthogonal, with principal components of one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.task_gradients import Matrix

Scale = Literal["min", "median", "mean"]

_ROUNDING = float(np.finfo(np.float32).eps)
"""Eigenvalues below this, times K and the largest one, count as zero, as in the authors' code."""


class AlignedMTL(Combiner):
    """Gradients of condition number 1 that are closest to the tasks' own (Senushkin et al., 2023, Algorithm 1).

        G Gᵀ = V diag(λ) Vᵀ,    Ĝ = B G,    B = √λ_R V diag(1 / √λ) Vᵀ

    over the R eigenvalues that are not zero, of which λ_R is the smallest. The aligned gradients of independent ones
    are orthogonal, and all as long as the weakest principal component: no task dominates, and none conflicts. ĝ is
    their sum, as in the authors' code, in which every task has weight 1. Parameters of one task alone are fed
    their plain gradients. With ``representation=`` it is the paper's Aligned-MTL-UB.

    Args:
        scale: which eigenvalue all of them become: the smallest, as in the paper, or their median (of an even number,
            the lower of the middle two) or mean.

    Raises:
        ValueError: the scale is unknown.
    """

    def __init__(self, scale: Scale = "min") -> None:
        super().__init__()
        if scale not in ("min", "median", "mean"):
            raise ValueError(f"scale is {scale!r}; give 'min', 'median' or 'mean'")
        self.scale = scale

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """B; zero where all gradients are."""
        values, vectors = np.linalg.eigh(gram)
        used = values > _ROUNDING * len(values) * values[-1]
        if not used.any():
            return np.zeros_like(gram)
        values, vectors = values[used], vectors[:, used]
        middle = values[(len(values) - 1) // 2]
        size = {"min": values[0], "median": middle, "mean": values.mean()}[self.scale]
        return np.asarray((vectors * np.sqrt(size / values)) @ vectors.T)

    def __repr__(self) -> str:
        return f"AlignedMTL(scale={self.scale!r})"
