"""Weights of a mixture by published formulas: PiKE (arXiv 2502.06244) and DGA (arXiv 2410.02498)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def moments(sum_sq: Floats, sq_sum: Floats, count: Floats, count_sq: Floats) -> tuple[Floats, Floats]:
    """|∇L|² and σ², without bias, from sums u_t over the n_t examples that a group has in each of several batches.

    For ∇L the mean of an example's gradient and σ² the trace of its covariance, E u_s·u_t = n_s n_t |∇L|² for two
    batches and E |u_t|² = n_t² |∇L|² + n_t σ² for one, hence

        |∇L|² ≈ (|Σ u|² - Σ |u|²) / ((Σ n)² - Σ n²)        σ² ≈ (Σ |u|² - |∇L|² Σ n²) / Σ n

    The first may come out negative where there is little signal. NaN where fewer than two batches have an example.

    Args:
        sum_sq: |Σ u|².
        sq_sum: Σ |u|².
        count: Σ n.
        count_sq: Σ n².

    >>> squared, variance = moments(*np.array([[18.0], [10.0], [2.0], [2.0]]))  # u (1, 2) and (2, 1), n 1 and 1
    >>> squared, variance
    (array([4.]), array([1.]))
    """
    pairs = np.asarray(count) ** 2 - count_sq
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = np.where(pairs > 0, (sum_sq - sq_sum) / pairs, np.nan)
        return squared, np.maximum((sq_sum - squared * count_sq) / count, 0.0)  # below 0 by rounding alone


def best_step(present: Floats, squared: Floats, variance: Floats, batch: Floats) -> Floats:
    """η L by which PiKE's bound on the loss after a step (Theorem 3.4, with β = γ = 1) falls most, for shares w:

        -η Σ w |∇L|² + L η² / 2 (Σ w σ² / b + Σ w² |∇L|²)

    Args:
        present: (..., task) w.
        squared, variance: (..., task) |∇L|² and σ².
        batch: (...) b, the examples in a batch.

    Returns:
        (...) between 0, where nothing is to be gained, and the number of groups.

    >>> best_step(np.array([0.5, 0.5]), np.array([4.0, 4.0]), np.array([0.0, 0.0]), np.array(1.0))
    array(2.)
    """
    seen = np.maximum(squared, 0)
    below = (present * variance).sum(axis=-1) / batch + (present**2 * seen).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((present * seen).sum(axis=-1) / below)


def pike(present: Floats, squared: Floats, variance: Floats, batch: Floats, step: Floats) -> Floats:
    """Shares after one update by PiKE, Algorithm 1: w_k exp(ζ₁ |∇L_k|² - ζ₂ σ_k² / (2 b)), divided by their sum.

    The paper tunes ζ₁ and ζ₂; by its derivation ζ₂ / ζ₁ = η L (with β = 1). Here ζ₁ is one over the mean of |∇L_k|²
    over the groups, so that the unit of the gradients does not matter.

    Args:
        present: (..., task) w.
        squared, variance: (..., task) |∇L|² and σ².
        batch: (...) b.
        step: (...) η L.

    >>> pike(*np.array([[0.5, 0.5], [1.0, 1.0], [0.0, 4.0]]), np.array(2.0), np.array(1.0)).round(2)  # 1 against e^-1
    array([0.73, 0.27])
    """
    drive = squared - (step / (2 * batch))[..., None] * variance
    return _exponentiated(present, drive, np.maximum(squared, 0))


def dga(present: Floats, alignment: Floats) -> Floats:
    """Shares after one update by DGA: α_k exp(η <∇L_k, ∇L_target>), divided by their sum.

    The paper tunes η; here it is one over the mean size of the inner products.

    Args:
        present: (..., task) α.
        alignment: (..., task) <∇L_k, ∇L_target>.

    >>> dga(np.array([0.5, 0.5]), np.array([3.0, 1.0])).round(2)  # e^1.5 against e^0.5
    array([0.73, 0.27])
    """
    return _exponentiated(present, alignment, np.abs(alignment))


def conflict_and_alignment(inner: Floats) -> tuple[float, float]:
    """How far groups conflict and align, as PiKE measures it: c of Definition 3.1, and the largest cosine (3.2).

    c is the least with -c (|g_j|² + |g_k|²) <= g_j·g_k for all pairs: 0 without a conflict, 1/2 for opposite gradients
    of one length. Groups without a gradient to be told from noise are left out; NaN for fewer than two.

    Args:
        inner: (task, task_other) inner products.

    >>> conflict_and_alignment(np.array([[1.0, -0.5, 0.5], [-0.5, 1.0, 0.0], [0.5, 0.0, 1.0]]))
    (0.25, 0.5)
    """
    length = np.diagonal(inner)
    there = np.flatnonzero(length > 0)
    first, second = np.triu_indices(len(there), 1)
    products, length = inner[np.ix_(there, there)][first, second], length[there]
    known = np.isfinite(products)
    if not known.any():
        return float("nan"), float("nan")
    products, one, other = products[known], length[first[known]], length[second[known]]
    return float(max(0.0, (-products / (one + other)).max())), float((products / np.sqrt(one * other)).max())


def _exponentiated(present: Floats, drive: Floats, size: Floats) -> Floats:
    """present * exp(drive / mean size), to the sum 1; NaN where one is not known, or all sizes are 0."""
    mean = size.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        exponent = np.where(mean > 0, drive / mean, np.nan)
        raised = present * np.exp(exponent - exponent.max(axis=-1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
