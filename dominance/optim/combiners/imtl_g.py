"""IMTL-G: weights that give the sum of the gradients the same projection on each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix

_ROUNDING = 1e-12
"""Eigenvalues of the Gram matrix of unit gradients below this, times K, count as zero."""


class IMTLG(Weighting):
    """Weights with Σ α_k = 1 for which g = Σ α_k g_k has the same inner product with every unit gradient g_k / |g_k|.

    With U the Gram matrix of the unit gradients and y_k = α_k |g_k|, that is U y = κ 1: the weights are those of
    y = U⁻¹ 1, divided by their sum. They can be negative, and where their sum is, g goes against all tasks alike:
    the method promises equal projections, not descent.

    Linearly dependent gradients: of all solutions the y of least norm is taken, which makes the same g up to its
    length. If a combination n of the unit gradients vanishes whose weights do not add up to 0 (opposite gradients,
    say), only κ = 0 is left, and g = 0: the limit of independent gradients that come close to such ones.

    A task with zero gradient has no direction; it is left out and gets weight 0. Parameters of one task alone are fed
    their plain gradients. With ``representation=`` the weights are found on the gradients there, as the authors do.

    Source: Liu et al. 2021, "Towards Impartial Multi-task Learning" (gradient balance, IMTL-G).
    """

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The weights, with sum 1. Where the sum of y_k / |g_k| is zero to rounding no finite weights exist, and the
        sum of their absolute values is 1 instead.
        """
        norms = np.sqrt(np.diagonal(gram))
        found = np.zeros(len(norms))
        used = norms > 0
        if not used.any():
            return found
        sizes = norms[used]
        alpha = _equal_projections(gram[np.ix_(used, used)] / sizes / sizes[:, None]) / sizes
        total = float(alpha.sum())
        among = float(np.abs(alpha).sum())
        found[used] = alpha / (total if abs(total) > _ROUNDING * among else among)
        return found


def _equal_projections(unit: Matrix) -> Matrix:
    """y with U y = 1, the shortest; or, where there is none, with U y = 0: the part of 1 that U does not reach."""
    values, vectors = np.linalg.eigh(unit)
    ones = vectors.sum(axis=0)
    zero = values <= _ROUNDING * len(values)
    if zero.any() and float(np.square(ones[zero]).sum()) > _ROUNDING:
        return np.asarray(vectors[:, zero] @ ones[zero])
    return np.asarray(vectors[:, ~zero] @ (ones[~zero] / values[~zero]))
