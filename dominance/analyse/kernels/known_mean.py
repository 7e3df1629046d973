"""The mean over the first axis of what is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def known_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis of the finite values; NaN where there is none.

    >>> known_mean(np.array([[1.0, np.nan, np.inf], [3.0, np.nan, 5.0]]))
    array([ 2., nan,  5.])
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=0) / known.sum(axis=0))
