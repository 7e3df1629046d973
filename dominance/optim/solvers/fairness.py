"""The equation M w = w^(-1/alpha) of FairGrad, by Newton's method."""

from __future__ import annotations

import numpy as np

from dominance.errors import SolverFailed
from dominance.optim.engine.task_gradients import Matrix

_STEPS = 500
_FAR = 1e7
"""Of scaled weights, from which on rounding alone moves them by percents: M is singular there."""


def solve_fair(gram: Matrix, alpha: float) -> Matrix:
    """The positive solution of M w = w^(-1/alpha), entry by entry.

    With p = 1/alpha it is the minimum over w > 0 of

        ½ wᵀMw - Σ w_i^(1-p) / (1-p)        (log w_i for p = 1),

    which is strictly convex. A Newton step t, relative to w, solves (diag(w) M diag(w) + p diag(w^(1-p))) t = w^(1-p) -
    w * M w. It is shortened to at most 1 / 2(1+p): so far the curvature, of which only the part of w^(1-p) changes,
    stays within a factor of 2, and the function falls, without being looked at. Where tasks' scales are decades apart
    its value would not show it.

    A solution exists, and is the only one, where no combination Σ w_i g_i with w >= 0 vanishes. The relative residual
    is then below 1e-11, or what rounding allows where tasks oppose each other.

    Args:
        gram: M, shape (K, K), float64, symmetric positive semidefinite.
        alpha: positive.

    Returns:
        w, shape (K,), float64.

    Raises:
        SolverFailed: there is no solution, or none that float64 can tell from none.

    Source: Ban and Ji 2024 (FairGrad), Eq. 4.
    """
    p = 1 / alpha
    norms = np.sqrt(np.diagonal(gram))
    if not norms.all():
        raise SolverFailed(f"{_no_solution()}: a gradient is zero")
    # In units of what orthogonal gradients would get, w = unit x, the right side is c x^-p; c is on the diagonal, too.
    unit = norms ** (-2 / (1 + p))
    c = unit ** (1 - p)
    matrix = gram * unit * unit[:, None]
    identity = np.eye(len(c))
    x = np.ones(len(c))
    for _ in range(_STEPS):
        pull = c * x ** (1 - p)
        residual = pull - x * (matrix @ x)
        size = float((x ** ((1 + p) / 2)).sum())
        if np.abs(residual / pull).max() <= 1e-11 + 16 * np.finfo(float).eps * size * size:
            return np.asarray(x * unit)
        if size > _FAR:
            break
        root = np.sqrt(pull)
        scaled = x / root
        try:
            step = np.linalg.solve(matrix * scaled * scaled[:, None] + p * identity, residual / root) / root
        except np.linalg.LinAlgError:  # rounding has made M indefinite, and x is large
            break
        x = x * (1 + step * min(1.0, 0.5 / (1 + p) / float(np.abs(step).max())))
    raise SolverFailed(f"{_no_solution()}: a combination with weights >= 0 vanishes (Pareto stationary)")


def _no_solution() -> str:
    return "M w = w^(-1/alpha) has no positive solution"
