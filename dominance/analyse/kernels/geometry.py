"""How the gradients of tasks lie to each other: measures of the Gram matrix G Gᵀ alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SINGULAR = 1e-13
"""Smallest part of the largest eigenvalue of a Gram matrix, summed in float64, that is told from rounding."""


def norms(gram: Floats) -> Floats:
    """|g_i|, NaN where a gradient is zero or not finite: it has no direction.

    Args:
        gram: (..., task, task) inner products.

    >>> norms(np.array([[4.0, 0.0], [0.0, 0.0]]))
    array([ 2., nan])
    """
    norm = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    return np.where(np.isfinite(norm) & (norm > 0), norm, np.nan)


def magnitude_similarity(gram: Floats) -> Floats:
    """2 |g_i| |g_j| / (|g_i|² + |g_j|²) (PCGrad, Yu et al. 2020, Definition 2): 1 for equal lengths, towards 0 apart.

    NaN on the diagonal and where a task has no gradient.

    >>> magnitude_similarity(np.diag([1.0, 9.0, 0.0]))
    array([[nan, 0.6, nan],
           [0.6, nan, nan],
           [nan, nan, nan]])
    """
    norm = norms(gram)
    ratio = norm[..., :, None] / norm[..., None, :]  # of the ratio alone: squares of norms may overflow
    return without_diagonal(2 / (ratio + 1 / ratio))


def curvature_bound(gram: Floats) -> Floats:
    """ξ = (1 - cos² φ_ij) |g_i - g_j|² / |g_i + g_j|² (PCGrad, Definition 4, the curvature bounding measure).

    Above 1 for long gradients in conflict, 0 for parallel ones; the larger, the less curvature it takes for the
    projection of PCGrad to be the better step. NaN on the diagonal, where a task has no gradient, and for gradients
    that cancel each other: 0/0.

    >>> curvature_bound(np.array([[1.0, -0.5], [-0.5, 1.0]]))[0, 1]  # 120 degrees: 3/4 * 3 / 1
    np.float64(2.25)
    """
    norm = norms(gram)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.clip(gram / norm[..., :, None] / norm[..., None, :], -1, 1)
        ratio = norm[..., :, None] / norm[..., None, :]
        size = ratio + 1 / ratio  # (|g_i|² + |g_j|²) / (|g_i| |g_j|)
        return without_diagonal((1 - cosine**2) * (size - 2 * cosine) / (size + 2 * cosine))


def condition_number(gram: Floats) -> Floats:
    """κ(G) = σ_max / σ_min = √(λ_max / λ_min) of G Gᵀ (Aligned-MTL, Senushkin et al. 2023), over tasks with a gradient.

    1 for orthogonal gradients of one length. inf where the gradients are linearly dependent, as far as float64 can
    tell; NaN for fewer than two.

    Args:
        gram: (..., task, task).

    Returns:
        (...)

    >>> condition_number(np.array([np.diag([9.0, 0.0, 1.0]), np.ones((3, 3)), np.diag([1.0, 0.0, 0.0])]))
    array([ 3., inf, nan])
    """
    norm = norms(gram)
    there = ~np.isnan(norm)
    number = there.sum(axis=-1)
    longest = np.where(number > 0, np.fmax.reduce(norm, axis=-1), 1.0)
    both = there[..., :, None] & there[..., None, :]
    scaled = np.where(both, gram, 0) / longest[..., None, None] / longest[..., None, None]
    values = np.linalg.eigvalsh(np.where(np.isfinite(scaled), scaled, 0))  # increasing
    # A task without a gradient adds an eigenvalue of 0: among the smallest, as none is far below 0.
    first = np.minimum(values.shape[-1] - number, values.shape[-1] - 1)
    largest, smallest = values[..., -1], np.take_along_axis(values, first[..., None], axis=-1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(smallest > SINGULAR * largest, np.sqrt(largest / smallest), np.inf)
    return np.where(number > 1, found, np.nan)


def without_diagonal(values: Floats) -> Floats:
    """These measures are for two different tasks."""
    tasks = np.arange(values.shape[-1])
    values[..., tasks, tasks] = np.nan
    return values
