"""Sums over tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sum_over_tasks(values: NDArray[Any]) -> NDArray[Any]:
    """Σ_k of (task, ...), added in the order of tasks.

    numpy's own sum takes another order where a tile is one coordinate wide, and the last bits with it.

    >>> sum_over_tasks(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    total = np.zeros(values.shape[1:], dtype=values.dtype)
    for task in values:
        total += task
    return total
