"""What weights must satisfy: the residuals of their equations, and the properties that a method promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from optim.matrices import Matrix

from dominance.optim.solvers.simplex import min_norm

Rule = Callable[[Matrix], Matrix]
"""From a Gram matrix to weights."""


def norms(gram: Matrix) -> Matrix:
    return np.sqrt(np.diagonal(gram))


def stationary(gram: Matrix) -> bool:
    """Whether a combination of the gradients with weights >= 0 vanishes, to rounding."""
    w = min_norm(gram)
    return bool(w @ gram @ w <= 1e-13 * (w @ norms(gram)) ** 2)


def kkt_residual(gram: Matrix, weights: Matrix) -> float:
    """Of min wᵀGw on the simplex: each inner product is at least wᵀGw, and equal where w_i > 0.

    Relative to |g_i| times the least norm, which bounds |g_w|.
    """
    size = norms(gram)
    along = gram @ weights
    squared = float(weights @ along)
    scale = np.maximum(size * size.min(), 1e-300)
    assert weights.min() >= 0
    short = float(((squared - along) / scale).max())
    slack = float((weights * np.abs(along - squared)).sum() / max(size.min() ** 2, 1e-300))
    return max(short, slack, abs(weights.sum() - 1))


def conflict_averse_objective(gram: Matrix, weights: Matrix, c: float) -> float:
    """F(w) = g_w·g0 + c |g0| |g_w|, on the simplex, of CAGrad's Algorithm 1."""
    k = len(gram)
    length = np.sqrt(max(gram.sum(), 0)) / k
    return float(weights @ gram.sum(axis=1) / k + c * length * np.sqrt(max(float(weights @ gram @ weights), 0)))


def conflict_averse_gap(gram: Matrix, v: Matrix, c: float) -> float:
    """Upper minus lower bound of max over the ball of min_i g_i·d, at d = g0 + Σ v_i g_i; and how far d is outside.

    The upper bound is F(w), w = v / Σv, or F = 0 where a combination vanishes. Relative to |g0| times the least norm
    that is not 0.
    """
    k = len(gram)
    size = norms(gram)
    length = float(np.sqrt(max(gram.sum(), 0)) / k)
    if length <= 1e-14 * size.max():
        return float(v.max())  # g0 = 0: there is no room for a correction
    assert v.min() >= 0
    lower = float((gram.sum(axis=1) / k + gram @ v).min())
    bounds = [0.0] if stationary(gram) else []
    if v.sum() > 0:
        bounds.append(conflict_averse_objective(gram, v / v.sum(), c))
    outside = np.sqrt(max(float(v @ gram @ v), 0)) / length - c
    return max((min(bounds) - lower) / (length * size[size > 0].min()), outside)


def bargaining_residual(gram: Matrix, alpha: Matrix) -> float:
    """max |α_i (Mα)_i - 1|."""
    assert alpha.min() > 0
    return float(np.abs(alpha * (gram @ alpha) - 1).max())


def assert_same_sum(gradients: Matrix, a: Matrix, b: Matrix, tolerance: float) -> None:
    """Two weightings make the same sum, relative to what it is made of; for where weights are not unique."""
    scale = max(np.abs(a) @ np.linalg.norm(gradients, axis=1), 1e-300)
    assert np.linalg.norm((a - b) @ gradients) <= tolerance * scale


def assert_equivariant(rule: Rule, gradients: Matrix, order: Iterable[int], tolerance: float = 1e-9) -> None:
    """Tasks in another order get the same weights in that order."""
    order = list(order)
    moved = gradients[order]
    assert_same_sum(moved, rule(gradients @ gradients.T)[order], rule(moved @ moved.T), tolerance)


def assert_scale_free(rule: Rule, gradients: Matrix, tolerance: float = 1e-9) -> None:
    """All gradients times one number: the same weights."""
    gram = gradients @ gradients.T
    for factor in (1e-6, 1e6):
        assert_same_sum(gradients, rule(gram), rule(gram * factor**2), tolerance)


def assert_no_conflict(gradients: Matrix, weights: Matrix, tolerance: float = 1e-9) -> None:
    """The weighted sum has no negative inner product with a task's gradient."""
    total = weights @ gradients
    scale = np.linalg.norm(gradients, axis=1) * (np.abs(weights) @ np.linalg.norm(gradients, axis=1))
    assert (gradients @ total >= -tolerance * scale).all()
