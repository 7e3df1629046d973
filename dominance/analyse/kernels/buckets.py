"""How many coordinates have a ratio in each bucket (AdaTask, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-12
"""A ratio within this of an edge lies on the edge: 4/(4 + 1) is 0.8 whatever float64 makes of it."""


def bucket_counts(
    ratio: NDArray[np.float64], edges: Sequence[float], starts: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Coordinates whose ratio lies in (lo, hi], for each task, bucket and segment of coordinates.

    The first bucket holds ratio 0 as well. A coordinate with NaN (untouched) is in no bucket.

    Args:
        ratio: (task, coord).
        edges: increasing, from 0 to 1; bucket b is (edges[b], edges[b + 1]].
        starts: (segment,) first coordinate of each run of coordinates to count apart; default one segment, all.

    Returns:
        (task, bucket, segment).

    >>> bucket_counts(np.array([[0.0, 0.2, 0.21, 1.0, np.nan]]), (0, 0.2, 0.8, 1))[0, :, 0]
    array([2, 1, 1])
    """
    starts = np.zeros(1, dtype=np.int64) if starts is None else starts
    above = np.zeros((len(ratio), len(edges), len(starts)), dtype=np.int64)
    for b, edge in enumerate(edges[:-1]):  # no ratio exceeds 1
        over = ratio >= 0 if b == 0 else ratio > edge + TOLERANCE
        above[:, b] = np.add.reduceat(over, starts, axis=-1, dtype=np.int32)
    return np.asarray(above[:, :-1] - above[:, 1:])
