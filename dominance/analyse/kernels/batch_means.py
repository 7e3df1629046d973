"""Standard error of the mean of a series whose neighbours resemble each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.known_mean import known_mean


def batch_means(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean over the first axis, its standard error by batch means, and the number of batches.

    The n finite values of a series, in order, are cut into b batches of √n or a few more neighbours. The means of
    batches are next to independent when neighbours are correlated over less than √n steps:

        se² = Σ (m_i - m)² / (b (b - 1))        m_i mean of a batch, m mean of the batches

    (non-overlapping batch means, Schmeiser 1982; batches of √n: Flegal and Jones 2010). A trend counts as spread. Fewer
    than 16 values make 4 batches; fewer than 4 have no standard error.

    Args:
        values: (step, ...); what is not finite is left out.

    Returns:
        (...) each; NaN for a mean of nothing.

    >>> mean, error, batches = batch_means(np.array([1.0, 1.0, 3.0, 3.0, 1.0, 1.0, 3.0, 3.0, np.nan]))
    >>> float(mean), float(error.round(3)), int(batches)
    (2.0, 0.577, 4)
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    mean = known_mean(values)
    batches = np.where(count >= 16, np.floor(np.sqrt(count)), np.where(count >= 4, 4, 0)).astype(np.int64)
    # The batch of each finite value: batches of one size, or one more where n does not divide.
    rank = np.cumsum(known, axis=0) - 1
    batch = rank * batches // np.maximum(count, 1)
    error = np.full(mean.shape, np.nan)
    for number in np.unique(batches[batches > 0]):
        chosen = batches == number
        x, k, b = filled[:, chosen], known[:, chosen], batch[:, chosen]
        if k.all():  # the same batches everywhere: one pass
            starts = np.searchsorted(b[:, 0], np.arange(number))
            sizes = np.diff(np.append(starts, len(b)))
            means = np.add.reduceat(x, starts, axis=0) / sizes[:, None]
        else:
            means = np.stack([np.where(b == i, x, 0).sum(axis=0) / (k & (b == i)).sum(axis=0) for i in range(number)])
        error[chosen] = means.std(axis=0, ddof=1) / np.sqrt(number)
    return mean, error, np.asarray(batches)
