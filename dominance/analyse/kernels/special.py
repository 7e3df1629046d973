"""Tail probabilities of the chi-square and Student's t distribution, from the incomplete gamma and beta functions."""

from __future__ import annotations

import math

_TINY = 1e-300
_CLOSE = 1e-16
_MOST = 100_000  # terms; some hundreds are needed for thousands of degrees of freedom


def gamma_upper(a: float, x: float) -> float:
    """Q(a, x) = Γ(a, x) / Γ(a): series below x = a + 1, continued fraction above.

    >>> round(gamma_upper(1.0, 2.0), 12) == round(math.exp(-2.0), 12)
    True
    """
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _MOST):
            term *= x / (a + n)
            total += term
            if term < total * _CLOSE:
                break
        return 1 - front * total
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    h = d
    for n in range(1, _MOST):  # modified Lentz
        part = -n * (n - a)
        b += 2
        d = 1 / _away(b + part * d)
        c = _away(b + part / c)
        h *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return front * h


def beta_lower(a: float, b: float, x: float) -> float:
    """I_x(a, b), the regularised incomplete beta function, by its continued fraction.

    >>> round(beta_lower(2.0, 3.0, 0.4), 12)
    0.5248
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x > (a + 1) / (a + b + 2):  # there the fraction of the other tail converges fast
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, _MOST):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + part * d)
            c = _away(1 + part / c)
            h *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return h


def _away(value: float) -> float:
    """Away from 0, where the fraction would be divided by it."""
    return value if abs(value) > _TINY else _TINY


def chi_square_tail(statistic: float, dof: int) -> float:
    """P(X > statistic) for a chi-square distributed X.

    >>> round(chi_square_tail(3.841458820694124, 1), 12)
    0.05
    """
    if math.isnan(statistic):
        return math.nan
    if dof == 1:
        return math.erfc(math.sqrt(max(statistic, 0.0) / 2))
    return gamma_upper(dof / 2, statistic / 2)


def t_tails(statistic: float, dof: float) -> float:
    """P(|T| > |statistic|) for Student's t, both tails; ``dof`` need not be whole.

    >>> round(t_tails(12.706204736174698, 1), 12)
    0.05
    """
    if math.isnan(statistic) or math.isnan(dof):
        return math.nan
    if math.isinf(statistic):
        return 0.0
    square = statistic * statistic
    if square < dof:  # the nearer of x and 1 - x keeps its digits
        return 1 - beta_lower(0.5, dof / 2, square / (dof + square))
    return beta_lower(dof / 2, 0.5, dof / (dof + square))


def t_quantile(level: float, dof: float) -> float:
    """The t with P(|T| <= t) = level, by bisection; NaN without degrees of freedom.

    >>> round(t_quantile(0.95, 10), 9)
    2.228138852
    """
    if not dof > 0:
        return math.nan
    low, high = 0.0, 1.0
    while t_tails(high, dof) > 1 - level:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_tails(middle, dof) > 1 - level else (low, middle)
    return (low + high) / 2
