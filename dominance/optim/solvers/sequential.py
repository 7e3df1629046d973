"""The bargaining equation by PUB's sequence of convex problems: slower than Newton's method, to the same solution."""

from __future__ import annotations

import numpy as np

from dominance.errors import SolverFailed
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import min_norm

_GAP = 1e-12
"""Where a convex problem counts as solved: the mean of mu_i phi_i, and the largest entry of slope - Jᵀmu."""
_STEPS = 60
"""Newton steps for one convex problem; a dozen or two is usual."""


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
    raise SolverFailed(
        f"M alpha = 1 / alpha was not solved in {iterations} convex problems", fix="allow more iterations"
    )


def _feasible(gram: Matrix) -> Matrix:
    """A point with alpha > 0 and phi > 0. The min-norm point w has M w >= wᵀMw in every entry."""
    weights = min_norm(gram)
    least = float(weights @ gram @ weights)
    if least < 1e-14:
        raise SolverFailed(
            "M alpha = 1 / alpha has no positive solution: a combination with weights >= 0 vanishes (Pareto stationary)"
        )
    # Adding the same to all keeps M alpha >= least / 2, also where weights are zero.
    alpha = weights + min(1.0, least / max(-2 * float(gram.sum(axis=0).min()), least))
    return np.asarray(alpha * np.sqrt(2 / (alpha * (gram @ alpha)).min()))


def _phi(gram: Matrix, alpha: Matrix) -> Matrix:
    """Eq. 2; not a number or -inf outside its domain."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(alpha) + np.log(gram @ alpha))


def _tangent_problem(gram: Matrix, slope: Matrix, start: Matrix) -> Matrix:
    """Minimise slope · alpha subject to phi(alpha) >= 0 (Eq. 4), by a primal-dual interior point method.

    With J the Jacobian of phi, Newton steps solve slope = Jᵀμ and μ_i phi_i = t for ever smaller t. They are taken in
    relative changes of alpha. At the point where the tangent was taken slope = Jᵀ1, so μ starts from ones.

    Args:
        slope: the gradient of Σ phi_i at the last solution, shape (K,).
        start: that solution, where phi >= 0, shape (K,).
    """
    k = len(start)
    alpha, mu = start * 1.01, np.ones(k)
    phi = _phi(gram, alpha)
    size = 1.0
    for _ in range(_STEPS):
        other = gram @ alpha
        share = gram * alpha / other[:, None]
        jacobian = np.eye(k) + share
        dual = slope * alpha - jacobian.T @ mu
        gap = float(mu @ phi) / k
        if gap <= _GAP and np.abs(dual).max() <= _GAP:
            break
        target = (0.1 if size > 0.5 else 0.8) * gap  # after a short step: back to the middle first
        curvature = np.diag(mu) + (share * mu[:, None]).T @ share
        system = np.block([[curvature, -jacobian.T], [jacobian, np.diag(phi / mu)]])
        step = np.linalg.solve(system, np.concatenate([-dual, target / mu - phi]))
        along, up = step[:k], step[k:]
        size = min(1.0, 0.99 / max(float(-along.min()), float((-up / mu).max()), 1e-300))
        while not (phi_next := _phi(gram, alpha * (1 + size * along))).min() > 0.01 * float(phi.min()):
            size /= 2
            if size < 1e-12:
                return alpha
        alpha, mu, phi = alpha * (1 + size * along), mu + size * up, phi_next
    return alpha
