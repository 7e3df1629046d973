"""The bargaining equation by PUB's sequence of convex problems: slower than Newton's method, to the same solution."""

from __future__ import annotations

import numpy as np

from dominance.errors import SolverFailed
from dominance.optim.solvers.simplex import min_norm
from dominance.optim.task_gradients import Matrix

_GAP = 1e-11
"""Where the barrier method stops: what is left to gain, divided by the number of tasks."""
_STEPS = 60
"""Newton steps for one strength of the barrier; a handful is usual."""


def solve_sequential(gram: Matrix, iterations: int = 200) -> Matrix:
    """The positive solution of M alpha = 1 / alpha, by the concave-convex procedure.

    With φ_i(α) = log α_i + log (Mα)_i, which is concave (Eq. 2): minimise Σ φ_i subject to φ >= 0 (Eq. 3) by replacing
    the objective by its tangent at the solution so far and keeping the constraints (Eq. 4), again and again until
    φ = 0. Each of these convex problems is solved by Newton's method with a logarithmic barrier. M is scaled to unit
    diagonal. The first point is made from the min-norm point of the hull, since Mα > 0 need not hold at (1, ..., 1).

    Args:
        gram: M = DᵀD, shape (K, K), float64, symmetric positive semidefinite.
        iterations: the most convex problems that are solved; the paper allows 200.

    Returns:
        alpha, shape (K,), float64.

    Raises:
        SolverFailed: there is no solution, or it was not reached in so many iterations.

    Source: PUB, Sec. V-C, Eq. 2-4.
    """
    norms = np.sqrt(np.diagonal(gram))
    if not norms.all():
        raise SolverFailed("M alpha = 1 / alpha has no positive solution: a vector is zero")
    scaled = gram / norms / norms[:, None]
    alpha = _feasible(scaled)
    for _ in range(iterations):
        slope = 1 / alpha + scaled @ (1 / (scaled @ alpha))
        alpha = _tangent_problem(scaled, slope, alpha)
        if np.abs(_phi(scaled, alpha)).max() <= 1e-9:
            return np.asarray(alpha / norms)
    raise SolverFailed(f"M alpha = 1 / alpha was not solved in {iterations} convex problems", fix="allow more iterations")


def _feasible(gram: Matrix) -> Matrix:
    """A point with alpha > 0 and phi > 0. The min-norm point w has M w >= wᵀMw in every entry."""
    weights = min_norm(gram)
    least = float(weights @ gram @ weights)
    if least < 1e-14:
        raise SolverFailed(
            "M alpha = 1 / alpha has no positive solution: a combination with weights >= 0 vanishes (Pareto stationary)"
        )
    alpha = weights + least / (2 * len(weights))
    return np.asarray(alpha * np.sqrt(2 / (alpha * (gram @ alpha)).min()))


def _phi(gram: Matrix, alpha: Matrix) -> Matrix:
    """Eq. 2; not a number or -inf outside its domain."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(alpha) + np.log(gram @ alpha))


def _tangent_problem(gram: Matrix, slope: Matrix, start: Matrix) -> Matrix:
    """Minimise slope · alpha subject to phi(alpha) >= 0 (Eq. 4), by a barrier -Σ log phi_i that grows ever weaker.

    Args:
        slope: shape (K,); the objective is scaled so that its value at the start is about 1.
        start: a point with phi >= 0, shape (K,).
    """
    alpha = start * 1.01 if _phi(gram, start).min() <= 0 else start
    objective = slope / float(slope @ alpha)
    strength = 1.0
    while strength > _GAP:
        strength *= 0.05
        alpha = _centre(gram, objective / strength, alpha)
    return alpha


def _centre(gram: Matrix, objective: Matrix, alpha: Matrix) -> Matrix:
    """Newton's method, halving steps, on objective · alpha - Σ log phi_i(alpha)."""

    def value(point: Matrix) -> float:
        phi = _phi(gram, point)
        return float(objective @ point - np.log(phi).sum()) if phi.min() > 0 else np.inf

    here = value(alpha)
    for _ in range(_STEPS):
        other, phi = gram @ alpha, _phi(gram, alpha)
        jacobian = gram / other[:, None] + np.diag(1 / alpha)
        gradient = objective - jacobian.T @ (1 / phi)
        curvature = (gram / other[:, None] ** 2 / phi[:, None]).T @ gram + np.diag(1 / (alpha**2 * phi))
        pulled = jacobian / phi[:, None]
        hessian = curvature + pulled.T @ pulled
        step = -np.linalg.solve(hessian * alpha * alpha[:, None], gradient * alpha) * alpha
        decrement = float(-gradient @ step)
        if decrement <= 1e-12:
            break
        size = 1.0
        while not value(alpha + size * step) <= here - 0.1 * size * decrement:
            size /= 2
            if size < 1e-12:
                return alpha
        alpha = alpha + size * step
        here = value(alpha)
    return alpha
