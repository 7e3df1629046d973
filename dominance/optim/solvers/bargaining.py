"""The bargaining equation M alpha = 1 / alpha of PUB (Claim 1) and Nash-MTL, by Newton's method."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dominance.errors import SolverFailed
from dominance.optim.engine.task_gradients import Matrix

Solver = Callable[[Matrix], Matrix]

_STEPS = 100
_FAR = 1e7
"""Sum of the scaled weights from which on rounding alone moves alpha * M alpha by percents: M is singular there."""


def solve(gram: Matrix) -> Matrix:
    """The positive solution of M alpha = 1 / alpha.

    It is the minimum of ½ αᵀMα - Σ log α_i, which is strictly convex and self-concordant: damped Newton steps, on M
    scaled to unit diagonal, reach it from everywhere. With a = α scaled likewise, a step is a (1 + t / (1 + λ)), where
    (diag(a) M diag(a) + I) t = r = 1 - a * M a, and λ² = r·t.

    A solution exists, and is the only one, where no combination Σ w_i d_i with w >= 0 vanishes. The relative residual
    |α_i (Mα)_i - 1| is then below 1e-11, or 16 eps (Σa)² where tasks oppose each other so closely that a is large.

    Args:
        gram: M = DᵀD, shape (K, K), float64, symmetric positive semidefinite.

    Returns:
        alpha, shape (K,), float64.

    Raises:
        SolverFailed: there is no solution, or none that float64 can tell from none.

    Source: PUB, Claim 1; the equation is also that of Nash-MTL (Navon et al. 2022, Claim 3.1).
    """
    norms = np.sqrt(np.diagonal(gram))
    if not norms.all():
        raise SolverFailed(f"{_no_solution()}: a vector is zero")
    k = len(norms)
    if k == 1:
        return np.asarray(1 / norms)
    scaled = gram / norms / norms[:, None]
    if k == 2:
        return np.asarray(1 / (_opening(float(scaled[0, 1])) * norms))
    a = np.full(k, math.sqrt(k / max(float(scaled.sum()), 1.0)))
    identity = np.eye(k)
    for _ in range(_STEPS):
        r = 1 - a * (scaled @ a)
        size = float(a.sum())
        if max(r.max(), -r.min()) <= 1e-11 + 16 * np.finfo(float).eps * size * size:
            return np.asarray(a / norms)
        if size > _FAR:
            break
        try:
            t = np.linalg.solve(scaled * a * a[:, None] + identity, r)
        except np.linalg.LinAlgError:  # rounding has made M indefinite, and a is large
            break
        squared = float(r @ t)
        if not 0 <= squared < math.inf:
            break
        decrement = math.sqrt(squared)
        a = a + a * (t if decrement < 0.25 else t / (1 + decrement))
    raise SolverFailed(f"{_no_solution()}: a combination with weights >= 0 vanishes (Pareto stationary)")


def bargain(gram: Matrix, previous: Matrix, solver: Solver = solve) -> tuple[Matrix, str]:
    """Weights of this step, and why they are the old ones, if they are.

    A vector that is zero takes no part: the bargaining goes on among the others, which it cannot help or hurt, and its
    weight stays. Where the others find no solution all weights stay, as in the code of Nash-MTL's authors.

    Args:
        gram: M, shape (K, K).
        previous: the weights of the step before, ones at first, shape (K,).
        solver: of M alpha = 1 / alpha.

    Returns:
        The weights, shape (K,), and the reason of a failure, or "".
    """
    taking_part = np.diagonal(gram) > 0
    if not taking_part.any():
        return previous.copy(), "all vectors are zero"
    weights = previous.copy()
    try:
        weights[taking_part] = solver(gram if taking_part.all() else gram[np.ix_(taking_part, taking_part)])
    except SolverFailed as failure:
        return previous.copy(), failure.message
    return weights, ""


def _opening(cosine: float) -> float:
    """sqrt(1 + cos), by which two unit vectors' weights are divided."""
    if 1 + cosine < 4 / _FAR**2:
        raise SolverFailed(f"{_no_solution()}: the two vectors are opposite (Pareto stationary)")
    return math.sqrt(1 + cosine)


def _no_solution() -> str:
    return "M alpha = 1 / alpha has no positive solution"
