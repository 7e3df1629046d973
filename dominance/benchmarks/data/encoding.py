"""Categories as codes, numbers on one scale: what tables need before a network can read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor


def codes(values: pd.Series[Any], train: npt.NDArray[np.bool_], least: int = 1) -> tuple[npt.NDArray[np.int64], int]:
    """Each value as a number, and how many there are: 0 for what the training rows do not have, then by first sight.

    Args:
        values: (rows,), of any kind.
        train: (rows,), which rows are trained on.
        least: values that the training rows have fewer times count as not there.

    >>> codes(pd.Series(["b", "a", "c", "b"]), np.array([True, True, False, True]))
    (array([1, 2, 0, 1]), 3)
    """
    counts = values[train].value_counts(sort=False)
    known = counts.index[counts.to_numpy() >= least]
    return known.get_indexer(pd.Index(values)).astype(np.int64) + 1, len(known) + 1


def standardised(values: npt.NDArray[np.float64], train: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Columns (rows, columns) with mean 0 and deviation 1 over the training rows; a constant column becomes 0."""
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    scaled: npt.NDArray[np.float32] = ((values - mean) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)
    return scaled


def coded(
    table: pd.DataFrame, columns: Sequence[str], train: npt.NDArray[np.bool_], least: int = 1
) -> tuple[Tensor, list[int]]:
    """``codes`` of several columns: (rows, columns) int64, and how many there are of each."""
    found = [codes(table[column], train, least) for column in columns]
    return torch.from_numpy(np.stack([code for code, _ in found], axis=1)), [size for _, size in found]
