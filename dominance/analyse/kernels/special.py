"""Tail probabilities and quantiles of the chi-square and Student's t distribution, both tails of t taken together.

scipy.special is imported where it is used: most of what is read needs none of it, and it takes a tenth of a second.
"""

from __future__ import annotations


def chi_square_tail(statistic: float, dof: int) -> float:
    """P(X > statistic) for a chi-square distributed X; NaN of NaN.

    >>> round(chi_square_tail(3.841458820694124, 1), 12)
    0.05
    """
    from scipy.special import chdtrc

    return float(chdtrc(dof, max(statistic, 0.0)))


def t_tails(statistic: float, dof: float) -> float:
    """P(|T| > |statistic|) for Student's t, both tails; ``dof`` need not be whole. NaN of NaN.

    >>> round(t_tails(12.706204736174698, 1), 12)
    0.05
    """
    from scipy.special import stdtr

    return float(2 * stdtr(dof, -abs(statistic)))


def t_quantile(level: float, dof: float) -> float:
    """The t with P(|T| <= t) = level; NaN without degrees of freedom.

    >>> round(t_quantile(0.95, 10), 9)
    2.228138852
    """
    from scipy.special import stdtrit

    return float(stdtrit(dof, (1 + level) / 2))
