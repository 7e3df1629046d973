"""Similarity of gradient and update, and its difference between two kinds of parameters (PUB, Eq. 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def similarity(gradient_sq: Floats, update_sq: Floats, gradient_dot_update: Floats) -> Floats:
    """Sim = -g·Δθ / (|g| |Δθ|), the cosine of the gradient and the descent direction: 1 for a step of plain SGD.

    NaN where the gradient or the update is zero or not finite: it has no direction.

    Args:
        gradient_sq, update_sq, gradient_dot_update: (...) |g|², |Δθ|² and g·Δθ.

    >>> similarity(np.array([4.0, 1.0]), np.array([0.01, 0.0]), np.array([-0.2, 0.0]))  # Δθ = -0.05 g
    array([ 1., nan])
    """
    sizes = np.sqrt([gradient_sq, update_sq])
    one, other = np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan)
    with np.errstate(invalid="ignore"):  # inf / nan, of gradients that overflowed
        return np.asarray(np.clip(-gradient_dot_update / one / other, -1, 1))  # rounding alone leads outside


def diff(sim_task: Floats, sim_shared: Floats) -> Floats:
    """Diff = 2 |Sim_task - Sim_share| / |Sim_task + Sim_share|: 0 for equal ones; inf where they cancel each other.

    >>> diff(np.array([0.3, 0.1, 0.0]), np.array([0.1, -0.1, 0.0]))
    array([ 1., inf, nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * np.abs(sim_task - sim_shared) / np.abs(sim_task + sim_shared))
