"""Where the mean of a series changes: optimal partitioning, with a penalty for every change (Killick et al. 2012)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MEDIAN = 0.454936
"""Median of a chi-squared variable with one degree of freedom."""
_MOST = 0.9
"""Of the correlation of neighbours that is allowed for: what moves more slowly is no noise."""


def noise(series: NDArray[np.float64]) -> float:
    """Variance of a point that the mean of many points is as good as, of the mean component.

    From medians of squared differences, so that a mean that changes here and there does not count. Where neighbours
    resemble each other (an AR(1) process of correlation r), sums of them vary more, by (1 + r) / (1 - r).

    Args:
        series: (point, component), three points or more.

    >>> rng = np.random.default_rng(0)
    >>> round(noise(np.cumsum(np.eye(1, 4000, 2000)).reshape(-1, 1) + rng.standard_normal((4000, 1))), 1)
    1.0
    """
    near, far = (float(np.median((series[lag:] - series[:-lag]) ** 2, axis=0).mean()) for lag in (1, 2))
    if not near:
        return 0.0
    together = min(max(far / near - 1, 0.0), _MOST)
    return near / (2 * _MEDIAN) / (1 - together) * (1 + together) / (1 - together)


def change_points(
    series: NDArray[np.float64], *, shortest: int = 2, least: float = 0.0, factor: float = 2.0
) -> NDArray[np.int64]:
    """First points of the phases after the first: the mean is another one from there on.

    The partition into phases with the least sum of squares around their means, in units of the noise, and ``factor``
    times (components + 1) log(points) for every change: twice what the Schwarz criterion asks.

    Args:
        series: (point, component), finite.
        shortest: points that a phase has at least.
        least: two neighbouring phases differ by more than this in some component; else they are one.

    Returns:
        (change,) int64, increasing.

    >>> change_points(np.array([[0.0], [0.1], [0], [0.1], [1], [1.1], [1], [1.1]]))
    array([4])
    """
    count, components = series.shape
    if count < max(2 * shortest, 3):
        return np.empty(0, np.int64)
    variance = max(noise(series), (1e-3 + 0.05 * least) ** 2)  # a series without noise changes where it changes
    penalty = factor * (components + 1) * np.log(count)
    sums = np.concatenate([np.zeros((1, components)), np.cumsum(series, axis=0)])
    best = np.full(count + 1, np.inf)
    best[0] = -penalty
    before = np.zeros(count + 1, np.int64)
    for end in range(shortest, count + 1):
        start = np.arange(end - shortest + 1)
        # without the sum of all squares, which every partition has
        rest = -((sums[end] - sums[start]) ** 2).sum(axis=1) / (end - start)
        cost = best[start] + rest / variance + penalty
        before[end] = cost.argmin()
        best[end] = cost[before[end]]
    found: list[int] = []
    end = count
    while before[end] > 0:
        end = int(before[end])
        found.append(end)
    return _distinct(series, np.array(found[::-1], dtype=np.int64), least)


def _distinct(series: NDArray[np.float64], starts: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """Without the changes that are too small, the smallest taken away first."""
    while len(starts):
        means = np.stack([part.mean(axis=0) for part in np.split(series, starts)])
        sizes = np.abs(np.diff(means, axis=0)).max(axis=1)
        if sizes.min() > least:
            break
        starts = np.delete(starts, sizes.argmin())
    return starts


def nearest_split(left: NDArray[np.float64], right: NDArray[np.float64], doubtful: NDArray[np.float64]) -> int:
    """How many of the doubtful points, (point, component), belong to the left mean: with the least squares around both.

    >>> nearest_split(np.array([0.0]), np.array([1.0]), np.array([[0.1], [0.2], [0.9]]))
    2
    """
    gain = ((doubtful - right) ** 2).sum(axis=1) - ((doubtful - left) ** 2).sum(axis=1)
    return int(np.concatenate([[0.0], np.cumsum(gain)]).argmax())
