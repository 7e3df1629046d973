"""Gradient conflict degree (MoCoGrad, Definition 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.geometry import norms, without_diagonal


def gcd(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """GCD(g_i, g_j) = 1 - cos φ_ij (MoCoGrad Eq. 4), between 0 (same direction) and 2 (opposite); a conflict above 1.

    NaN where a gradient is zero or not finite: it has no direction. NaN on the diagonal: the degree is defined for two
    different tasks.

    Args:
        gram: (..., task, task) inner products of the tasks' gradients.

    >>> gcd(np.array([[4.0, -3.0, 0.0], [-3.0, 9.0, 0.0], [0.0, 0.0, 0.0]]))
    array([[nan, 1.5, nan],
           [1.5, nan, nan],
           [nan, nan, nan]])
    """
    norm = norms(gram)
    with np.errstate(invalid="ignore"):  # inf * nan, of gradients that overflowed
        cosine = gram / norm[..., :, None] / norm[..., None, :]
    return without_diagonal(1 - np.clip(cosine, -1, 1))  # rounding alone leads outside
