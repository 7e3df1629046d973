"""Noise on chosen parameters: which ones, and what it changes (AdaTask, Fig. 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.special import t_quantile

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def number_of(fraction: float, count: int) -> int:
    """How many of ``count`` a fraction is: at least one.

    >>> number_of(0.01, 1000), number_of(0.01, 30)
    (10, 1)
    """
    return max(1, round(fraction * count))


def extreme(values: Floats, number: int, lots: Floats, *, highest: bool) -> Indices:
    """Indices of the ``number`` highest or lowest values, increasing; equal values are chosen by the lowest lot.

    >>> extreme(np.array([0.5, 0.9, 0.9, 0.1]), 2, np.array([0.0, 0.3, 0.2, 0.1]), highest=True)
    array([1, 2])
    >>> extreme(np.array([0.5, 0.9, 0.9, 0.1]), 1, np.array([0.0, 0.3, 0.2, 0.1]), highest=True)
    array([2])
    """
    order = np.lexsort((lots, -values if highest else values))
    return np.sort(order[:number]).astype(np.int64)


def relative_change(noisy: Floats, baseline: Floats) -> Floats:
    """(M' - M) / |M|; NaN where M is 0.

    >>> relative_change(np.array([3.0, -3.0, 1.0]), np.array([2.0, -2.0, 0.0]))
    array([ 0.5, -0.5,  nan])
    """
    base = np.abs(np.broadcast_to(baseline, noisy.shape))
    change = np.full(noisy.shape, np.nan)
    np.divide(noisy - baseline, base, out=change, where=base > 0)
    return change


def mean_interval(values: Floats, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Mean over the last axis, and its limits: mean ± t s / √n (Student). Of one value the limits are NaN.

    >>> [float(x.round(3)) for x in mean_interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = t_quantile(level, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half
