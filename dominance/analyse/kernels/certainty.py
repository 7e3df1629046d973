"""From a number and its standard error to a probability."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.known_mean import known_mean
from dominance.analyse.kernels.special import t_tails


def stretches(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Means over ``count`` stretches of equal length, NaN left out; a stretch without a value is NaN.

    Args:
        values: (step, ...).

    Returns:
        (count, ...), fewer where there are fewer steps.

    >>> stretches(np.array([1.0, 3.0, np.nan, 7.0]), 2)
    array([2., 7.])
    """
    parts = np.array_split(np.asarray(values, dtype=np.float64), max(1, min(count, len(values))))
    return np.array([known_mean(part) for part in parts])


def jackknife_error(apart: NDArray[np.float64]) -> float:
    """Standard error of a statistic from its values without each of n stretches in turn (Quenouille, Tukey).

    se² = (n - 1) / n Σ (x_i - x̄)². Values that are not finite are left out; NaN for fewer than two.

    Args:
        apart: (n,) the statistic without each stretch.

    >>> round(jackknife_error(np.array([2.5, 2.0, 1.5])), 4)  # of the mean of 1, 2, 3: sqrt(1 / 3)
    0.5774
    """
    known = apart[np.isfinite(apart)]
    if len(known) < 2:
        return math.nan
    return float(np.sqrt((len(known) - 1) / len(known) * ((known - known.mean()) ** 2).sum()))


def probability_above(mean: float, error: float, bound: float, count: int) -> float:
    """Probability that the mean lies above ``bound``, from Student's t with ``count - 1`` degrees of freedom.

    NaN where there is no standard error; with an error of 0 it is known: 1, 0, or a half where it lies on the bound.

    Args:
        count: independent values that the mean and its error come from.

    >>> round(probability_above(1.0, 0.5, 0.0, 11), 4)
    0.9633
    >>> probability_above(1.0, 0.0, 2.0, 5)
    0.0
    """
    if not (math.isfinite(mean) and math.isfinite(error)) or count < 2:
        return math.nan
    if error == 0:
        return 0.5 if mean == bound else float(mean > bound)
    tail = t_tails((mean - bound) / error, count - 1) / 2
    return 1 - tail if mean >= bound else tail
