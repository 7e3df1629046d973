"""Independence of rows and columns of a table of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.special import chi_square_tail


def chi_square(table: NDArray[np.float64], *, correction: bool = False) -> tuple[float, int, float]:
    """Pearson's chi-square test of independence: Σ (O - E)² / E, with E from the margins.

    Args:
        table: counts (row, column).
        correction: Yates' continuity correction, for 2 x 2 tables: each |O - E| is lessened by 0.5, or to 0.

    Returns:
        statistic, degrees of freedom, p; NaN where a row or a column is empty.

    >>> found, dof, p = chi_square(np.array([[10.0, 20.0], [20.0, 10.0]]))
    >>> round(found, 4), dof, round(p, 4)
    (6.6667, 1, 0.0098)
    """
    table = np.asarray(table, dtype=np.float64)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    dof = (len(rows) - 1) * (len(columns) - 1)
    if not rows.all() or not columns.all():
        return float("nan"), dof, float("nan")
    expected = np.outer(rows, columns) / table.sum()
    off = np.abs(table - expected)
    if correction and dof == 1:
        off = np.maximum(off - 0.5, 0)
    statistic = float((off**2 / expected).sum())
    return statistic, dof, chi_square_tail(statistic, dof)
