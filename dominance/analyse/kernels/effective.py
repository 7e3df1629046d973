"""Effective number of tasks of a coordinate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.sum_over_tasks import sum_over_tasks


def effective_tasks(ratio: NDArray[Any]) -> NDArray[Any]:
    """exp(-Σ_k rAU_k ln rAU_k): 1 where one task does all the moving, K where K tasks share it alike.

    Args:
        ratio: (task, ...) rAU, summing to 1 over tasks; the result has its dtype. NaN stays NaN.

    >>> effective_tasks(np.array([[1.0, 0.5, 0.9], [0.0, 0.5, 0.1]])).round(3)
    array([1.   , 2.   , 1.384])
    """
    smallest = np.finfo(ratio.dtype).tiny  # 0 ln 0 = 0; lost in the rounding of all that counts
    return np.asarray(np.exp(-sum_over_tasks(ratio * np.log(ratio + smallest))))
