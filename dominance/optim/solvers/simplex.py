"""Problems of task weights >= 0, solved exactly: MGDA's min-norm point, CAGrad's, and UPGrad's projections."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dominance.errors import SolverFailed
from dominance.optim.engine.task_gradients import Matrix

_TINY = 1e-12
"""Squared sine of the angle between a gradient and the span of others below which it counts as lying in it."""
_FLOOR = 1e-11
"""The least eigenvalue of a Gram matrix of unit gradients that had to be repaired."""


def min_norm(gram: Matrix) -> Matrix:
    """The weights w of the shortest vector Σ w_i g_i with w >= 0, Σ w_i = 1.

    Wolfe's algorithm: the shortest vector of a growing set of gradients; one whose inner product with the vector is
    too small joins, one whose weight would turn negative leaves. Ends after finitely many steps at the exact solution,
    where (Gw)_i >= wᵀGw, with equality wherever w_i > 0. If gradients are zero, they share the weight equally.

    Args:
        gram: G, shape (K, K), float64, symmetric positive semidefinite.

    Returns:
        w, shape (K,), float64. Where gradients are linearly dependent other weights may make the same vector.

    Raises:
        SolverFailed: rounding kept it from ending.

    Source: Wolfe 1976, "Finding the nearest point in a polytope"; as a problem of tasks: Désidéri 2012.
    """
    norms = np.sqrt(np.diagonal(gram))
    if not norms.all():
        zero = norms == 0
        return np.asarray(zero / zero.sum())
    # Unit gradients, with y_i = w_i |g_i| / least: then s·y = 1 is the constraint, and no entry is large.
    s = float(norms.min()) / norms
    y = _repaired(lambda scaled: _wolfe(scaled, s), gram / norms / norms[:, None])
    return np.asarray(y * s / float(y @ s))


def conflict_averse(gram: Matrix, c: float) -> Matrix:
    """The weights v of CAGrad's correction: d = g0 + Σ v_i g_i, where g0 is the mean of the gradients.

    d maximises min_i g_i·d over the ball |d - g0| <= c |g0|. Its dual is the problem of Algorithm 1: with w = v / Σv,

        F(w) = g_w·g0 + c |g0| |g_w|,  g_w = Σ w_i g_i,  w on the simplex,

    is least. Solved exactly: for a level λ let u = Σ v_i g_i be the shortest step after which every g_i·(g0 + u) is at
    least λ. From λ = min_i g_i·g0, where v = 0, v is piecewise linear in λ; it is followed from one change of the set
    of active tasks to the next until |u| = c |g0|. Where a combination w >= 0 of the gradients vanishes (Pareto
    stationary: F is not smooth there, and the algorithm would divide by zero) no level above 0 can be had, and many d
    may be best: the path ends at the one that is closest to g0, its projection on the cone of all d with g_i·d >= 0.

    Args:
        gram: G, shape (K, K), float64, symmetric positive semidefinite.
        c: radius of the ball, relative to |g0|; not negative.

    Returns:
        v >= 0, shape (K,), float64.

    Raises:
        SolverFailed: rounding kept the path from its end.

    Source: Liu et al. 2021 (CAGrad), Algorithm 1, of which this is the exact solution; AdaTask, Algorithm 3.
    """
    norms = np.sqrt(np.diagonal(gram))
    k = len(norms)
    length = math.sqrt(max(float(gram.sum()), 0.0)) / k
    found = np.zeros(k)
    used = np.flatnonzero(norms)
    if c == 0 or length <= 1e-15 * float(norms.max(initial=0.0)):
        return found
    sizes = norms[used]
    # Unit gradients, |g0| = 1, and levels in units of |g0| times the least norm.
    s = float(sizes.min()) / sizes
    highest = 0.0 if len(used) < k else math.inf
    part = sizes / (k * length)
    y = _repaired(
        lambda scaled: _follow(scaled, s, scaled @ part, c, highest), gram[np.ix_(used, used)] / sizes / sizes[:, None]
    )
    found[used] = y * length / sizes
    return found


def onto_dual_cone(gram: Matrix, part: Matrix) -> Matrix:
    """The weights v >= part of the projection Σ v_i g_i of Σ part_i g_i onto the cone of all d with every g_i·d >= 0.

    The dual of that projection is min vᵀGv over v >= part. It is the path of ``conflict_averse`` at λ = 0: the shortest
    step after which no inner product is negative.

    Args:
        gram: G, shape (K, K), float64, symmetric positive semidefinite.
        part: shape (K,).

    Returns:
        v, shape (K,), float64. Where gradients are linearly dependent other weights may make the same vector.

    Raises:
        SolverFailed: rounding kept the path from its end.

    Source: Quinton and Rey 2024 (UPGrad), Proposition 1, of which this is the exact solution.
    """
    norms = np.sqrt(np.diagonal(gram))
    found = part.astype(np.float64)
    used = np.flatnonzero(norms)
    start = gram @ part
    length = math.sqrt(max(float(part @ start), 0.0))
    if length <= 1e-15 * float(np.abs(part) @ norms):
        return found
    sizes = norms[used]
    ones, of_unit = np.ones(len(used)), part[used] * sizes / length
    unit = gram[np.ix_(used, used)] / sizes / sizes[:, None]
    y = _repaired(lambda scaled: _follow(scaled, ones, scaled @ of_unit, math.inf, 0.0), unit)
    found[used] += y * length / sizes
    return found


def _repaired(problem: Callable[[Matrix], Matrix], scaled: Matrix) -> Matrix:
    """The solution for this Gram matrix; where there is none, for the nearest one that is positive definite.

    Inner products that were summed in float32 are wrong by 1e-7, which makes the Gram matrix of dependent gradients
    indefinite; no more than such rounding is mended here.
    """
    try:
        return problem(scaled)
    except (SolverFailed, np.linalg.LinAlgError):
        values, vectors = np.linalg.eigh(scaled)
        try:
            return problem((vectors * np.maximum(values, _FLOOR)) @ vectors.T)
        except np.linalg.LinAlgError as error:
            raise SolverFailed(f"the weights of {len(scaled)} gradients were not found: {error}") from error


def _wolfe(scaled: Matrix, s: Matrix) -> Matrix:
    """The y >= 0 with s·y = 1 that makes Σ y_i g_i shortest.

    Args:
        scaled: inner products of the unit gradients, shape (n, n).
        s: shape (n,).
    """
    n = len(s)
    inside = [int(s.argmax())]
    y = np.zeros(n)
    y[inside[0]] = 1 / s[inside[0]]
    for _ in range(5 * n + 10):
        along = scaled @ y
        squared = float(y @ along)
        if squared < -1e-14:
            break
        slack = along - squared * s
        slack[inside] = 0
        joining = int(slack.argmin())
        if slack[joining] >= -1e-13 * (1 + y.sum()):
            return y
        inside.append(joining)
        while True:
            found = _shortest(scaled[np.ix_(inside, inside)], s[inside])
            at = y[inside]
            falling = found <= 0
            y[:] = 0
            if not falling.any():
                y[inside] = found
                break
            shares = np.where(falling, at / np.where(falling, at - found, 1), np.inf)
            moved = at + float(shares.min()) * (found - at)
            moved[int(shares.argmin())] = 0
            moved = np.maximum(moved, 0)
            y[inside] = moved
            inside = [i for i, weight in zip(inside, moved, strict=True) if weight > 0]
    raise SolverFailed(f"the min-norm point of {n} gradients was not found")


def _follow(scaled: Matrix, s: Matrix, b: Matrix, radius: float, highest: float) -> Matrix:
    """y >= 0 at the end of the path: the shortest u = Σ y_i g_i with b_i + g_i·u >= λ s_i, at the last λ.

    Args:
        scaled: inner products of the unit gradients, shape (n, n).
        s: the shares of each constraint in the level, b: the inner products with g0; shape (n,).
        radius: where |u| ends the path.
        highest: where λ does: at 0 if some gradient is zero.
    """
    n = len(s)
    level = float((b / s).min())
    inside = [int((b / s).argmin())]
    for _ in range(10 * n + 10):
        block = scaled[inside]
        p, q = np.linalg.solve(block[:, inside], np.stack([s[inside], b[inside]], axis=1)).T
        # |u|^2 = a λ^2 - 2 h λ + e while the active tasks stay the same.
        a, h, e = float(s[inside] @ p), float(s[inside] @ q), float(b[inside] @ q)
        if a <= 0:
            break
        end = min((h + math.sqrt(max(h * h - a * (e - radius * radius), 0.0))) / a, highest)
        joining, joins = _first(b - q @ block, p @ block - s, inside, level)
        leaving, leaves = _first_negative(p, q, level)
        if end <= min(joins, leaves):
            return _placed(n, inside, np.maximum(end, level) * p - q)
        level = min(joins, leaves)
        if leaves <= joins:
            del inside[leaving]
            continue
        across = np.linalg.solve(block[:, inside], scaled[inside, joining])
        if 1 - float(across @ scaled[inside, joining]) <= _TINY:
            y = level * p - q
            able = across > _TINY
            if not able.any():  # a combination of the active gradients vanishes
                return _placed(n, inside, y)
            del inside[int(np.where(able, y / np.where(able, across, 1), np.inf).argmin())]
        inside.append(joining)
    raise SolverFailed(f"the conflict-averse direction of {n} gradients was not found")


def _first(slack: Matrix, rate: Matrix, inside: list[int], level: float) -> tuple[int, float]:
    """The inactive constraint that is met first on the way up, and the level: slack + λ rate = 0."""
    falling = rate < -1e-14
    falling[inside] = False
    meets = np.where(falling, slack / np.where(falling, -rate, 1), math.inf)
    which = int(meets.argmin())
    return which, max(float(meets[which]), level)


def _first_negative(p: Matrix, q: Matrix, level: float) -> tuple[int, float]:
    """The position of the weight λ p - q that is used up first, and the level."""
    falling = p < 0
    ends = np.where(falling, q / np.where(falling, p, 1), math.inf)
    which = int(ends.argmin())
    return which, max(float(ends[which]), level)


def _placed(n: int, inside: list[int], weights: Matrix) -> Matrix:
    """All n weights; those that are not inside are 0."""
    y = np.zeros(n)
    y[inside] = np.maximum(weights, 0)
    return y


def _shortest(scaled: Matrix, s: Matrix) -> Matrix:
    """The y with s·y = 1 that makes Σ y_i g_i shortest; the gradients may be dependent, but not affinely so."""
    u = np.linalg.solve(scaled + np.outer(s, s), s)
    return np.asarray(u / float(s @ u))
