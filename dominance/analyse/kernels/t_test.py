"""Means of samples: how far apart they are, within which limits, and with what p (Student, Welch, paired)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.special import t_quantile, t_tails

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A difference of means; what cannot be known from so few values is NaN.

    Attributes:
        value: the difference.
        se: its standard error.
        dof: degrees of freedom of ``se``; Welch's need not be whole.
    """

    value: float
    se: float
    dof: float

    @property
    def t(self) -> float:
        """value / se; of a difference without any spread ±inf, or NaN where it is 0."""
        if self.se == 0:
            return math.copysign(math.inf, self.value) if self.value else math.nan
        return self.value / self.se

    @property
    def p(self) -> float:
        """Probability of a |t| at least as large if the means are the same (both tails)."""
        return t_tails(self.t, self.dof)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """value ± t se. Without degrees of freedom NaN."""
        half = t_quantile(level, self.dof) * self.se
        return self.value - half, self.value + half


def mean(values: Floats) -> Difference:
    """The mean against 0: x̄, s / √n, n - 1. Of paired samples give the differences.

    >>> found = mean(np.array([1.0, 2.0, 3.0]))
    >>> found.value, round(found.se, 4), found.dof
    (2.0, 0.5774, 2)
    """
    n = len(values)
    se = math.sqrt(_variance(values) / n) if n else math.nan
    return Difference(float(np.mean(values)) if n else math.nan, se, n - 1 if n > 1 else math.nan)


def student(x: Floats, y: Floats) -> Difference:
    """x̄ - ȳ of two independent samples with one variance: pooled, n + m - 2 degrees of freedom.

    >>> round(student(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])).p, 4)
    0.0705
    """
    n, m = len(x), len(y)
    difference = float(np.mean(x) - np.mean(y)) if n and m else math.nan
    if n + m < 3 or not n or not m:
        return Difference(difference, math.nan, math.nan)
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in (x, y))
    return Difference(difference, math.sqrt(squares / (n + m - 2) * (1 / n + 1 / m)), n + m - 2)


def welch(x: Floats, y: Floats) -> Difference:
    """x̄ - ȳ of two independent samples, each with its own variance (Welch-Satterthwaite). Both need two values.

    >>> round(welch(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])).p, 4)
    0.0705
    """
    n, m = len(x), len(y)
    difference = float(np.mean(x) - np.mean(y)) if n and m else math.nan
    return joined(
        difference, [(_variance(x) / n if n else math.nan, n - 1), (_variance(y) / m if m else math.nan, m - 1)]
    )


def joined(value: float, parts: list[tuple[float, float]]) -> Difference:
    """A difference whose variance is the sum of independent parts (variance, dof), by Welch-Satterthwaite."""
    variance = sum(part for part, _ in parts)
    if math.isnan(variance):
        return Difference(value, math.nan, math.nan)
    below = sum(part**2 / dof for part, dof in parts if part > 0)
    return Difference(value, math.sqrt(variance), variance**2 / below if below else sum(dof for _, dof in parts))


def _variance(values: Floats) -> float:
    return float(np.var(values, ddof=1)) if len(values) > 1 else math.nan
