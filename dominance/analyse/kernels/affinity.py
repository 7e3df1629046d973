"""What a small step of one task does to the loss of another, to first order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def first_order(gram: Floats, rate: Floats, weight: Floats, loss: Floats) -> Floats:
    """1 - L_j(θ + Δ_i) / L_j(θ) ≈ -<∇L_j, Δ_i> / L_j for Δ_i = -η ĝ_i, with ĝ_k = w_k ∇L_k: η <ĝ_i, ĝ_j> / (w_j L_j).

    Args:
        gram: (step, layer, task, task_other) inner products of the effective gradients ĝ.
        rate: (step, layer) η.
        weight, loss: (step, task).

    Returns:
        (step, layer, task i, task j), the part of each layer: they add up. NaN where L_j or w_j is 0 or not known.

    >>> gram = np.array([[[[4.0, -2.0], [-2.0, 9.0]]]])
    >>> first_order(gram, np.array([[0.1]]), np.array([[1.0, 2.0]]), np.array([[2.0, 0.5]]))
    array([[[[ 0.2, -0.2],
             [-0.1,  0.9]]]])
    """
    below = (weight * loss)[:, None, None, :]
    found = np.full(gram.shape, np.nan)
    np.divide(rate[:, :, None, None] * gram, below, out=found, where=np.isfinite(below) & (below != 0))
    return found
