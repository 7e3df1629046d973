"""How much of a task's gradient is signal, and how much is noise of the batch (McCandlish et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def windows(steps: NDArray[np.int64], most: int, span: int) -> NDArray[np.int64]:
    """The window of each step: at most ``most`` steps, the last at most ``span`` training steps after the first.

    Args:
        steps: (step,) increasing numbers of training steps.

    >>> windows(np.array([0, 1, 2, 3, 50, 51, 70]), 3, 10)
    array([0, 0, 0, 1, 2, 2, 3])
    """
    code = np.empty(len(steps), dtype=np.int64)
    window, first, held = -1, 0, most
    for i, step in enumerate(steps.tolist()):
        if held == most or step - first > span:
            window, first, held = window + 1, step, 0
        code[i] = window
        held += 1
    return code


def signal_and_noise(sum_sq: Floats, sq_sum: Floats, count: NDArray[Any]) -> tuple[Floats, Floats]:
    """|G|² and tr(Σ)/B, without bias, from n gradients of independent batches of one size at the same parameters.

    E g·g' = |G|² for two of them and E |g|² = |G|² + tr(Σ)/B for one (McCandlish et al. 2018, Appendix A), hence

        |G|² ≈ (|Σ g|² - Σ |g|²) / (n (n - 1))        tr(Σ)/B ≈ Σ |g|² / n - |G|²

    The first may come out negative where there is little signal; the second never does. NaN for n < 2.

    Args:
        sum_sq: |Σ g|².
        sq_sum: Σ |g|².
        count: n; broadcasts against the others.

    >>> signal, noise = signal_and_noise(np.array([18.0, 0.0]), np.array([10.0, 2.0]), np.array([2, 2]))
    >>> signal, noise  # (1, 2) and (2, 1), then (1, 0) and (-1, 0)
    (array([ 4., -1.]), array([1., 2.]))
    """
    n = np.where(np.asarray(count) > 1, count, np.nan)
    signal = (sum_sq - sq_sum) / (n * (n - 1))
    return np.asarray(signal), np.asarray(np.maximum(sq_sum / n - signal, 0))  # below 0 by rounding alone


def weighted_mean(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Mean over the first axis and its standard error, from the spread of independent values.

        m = Σ w x / Σ w        se² = k / (k - 1) Σ (w (x - m))² / (Σ w)²        k values with w > 0

    The standard error is NaN for k < 2, the mean for k = 0.

    >>> weighted_mean(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    (np.float64(2.0), np.float64(1.0))
    """
    count = (weight > 0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weight.sum(axis=0)
        kept = np.where(weight > 0, values, 0)
        mean = (weight * kept).sum(axis=0) / total
        apart = weight * (kept - mean)
        error = np.sqrt(count / (count - 1) * (apart**2).sum(axis=0)) / total
    return mean, np.where(count > 1, error, np.nan)[()]


def signal_to_noise(signal: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Signal to noise, and noise to signal. A negative estimate of the signal says that there is none to be seen: 0.

    NaN where both are 0: there is no gradient.

    >>> signal_to_noise(np.array([4.0, -1.0, 2.0, 0.0]), np.array([1.0, 2.0, 0.0, 0.0]))
    (array([ 4.,  0., inf, nan]), array([0.25,  inf, 0.  ,  nan]))
    """
    seen = np.maximum(signal, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return seen / noise, noise / seen
