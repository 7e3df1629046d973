"""Each task's share of the average of squared updates (AdaTask, Eq. 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.sum_over_tasks import sum_over_tasks


def ratio(average: NDArray[np.float64]) -> NDArray[np.float64]:
    """rAU_k = AU_k / Σ_k' AU_k', NaN where no task has moved the coordinate (0/0).

    Args:
        average: (task, ...) AU, or anything proportional to it by a factor common to the tasks; finite, not negative.

    >>> ratio(np.array([[3.0, 0.0], [1.0, 0.0]]))
    array([[0.75,  nan],
           [0.25,  nan]])
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(average / sum_over_tasks(average))
