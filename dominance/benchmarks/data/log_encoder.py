"""Logs that are read piece by piece: four bytes a value are kept, whatever the file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from dominance.benchmarks.benchmark import Batch


class LogEncoder:
    """What the pieces of a log hold, until it is known which rows are trained on.

    Args:
        categories: columns that become codes.
        numbers: columns that become numbers with mean 0 and deviation 1 over the training rows.
        labels: columns that become targets of their name.
    """

    def __init__(self, categories: Sequence[str], numbers: Sequence[str], labels: Sequence[str]) -> None:
        self.categories, self.numbers = tuple(categories), tuple(numbers)
        self._known: dict[str, pd.Index] = {}
        self._codes: dict[str, list[npt.NDArray[np.int32]]] = {column: [] for column in categories}
        self._values: list[npt.NDArray[np.float32]] = []
        self._labels: dict[str, list[npt.NDArray[np.float32]]] = {column: [] for column in labels}
        self.rows = 0

    def add(self, piece: pd.DataFrame) -> None:
        """One piece; a column's values are of one kind in all pieces."""
        for column, found in self._codes.items():
            found.append(self._coded(column, pd.Index(piece[column])))
        if self.numbers:
            self._values.append(piece[list(self.numbers)].to_numpy(np.float32))
        for column, label in self._labels.items():
            label.append(piece[column].to_numpy(np.float32))
        self.rows += len(piece)

    def _coded(self, column: str, values: pd.Index) -> npt.NDArray[np.int32]:
        """Each value's place among those that were seen, in the order in which they came."""
        known = self._known.get(column)
        new = values.unique() if known is None else values[known.get_indexer(values) < 0].unique()
        known = new if known is None else known.append(new)
        self._known[column] = known
        return known.get_indexer(values).astype(np.int32)

    def split(self, rows: Mapping[str, Tensor], least: int = 1) -> tuple[dict[str, Batch], list[int]]:
        """The splits, and how many codes each category has. What was gathered is used up.

        Inputs are codes (rows, categories) int32, or with numbers (codes, numbers): (rows, numbers) float32. Code 0 is
        of all values that the training rows have fewer than ``least`` times.

        Args:
            rows: split -> its rows; "train" is among them.
        """
        train = rows["train"].numpy()
        codes = np.empty((self.rows, len(self.categories)), dtype=np.int32)
        sizes = []
        for place, column in enumerate(self.categories):
            seen = np.concatenate(self._codes.pop(column))
            kept = np.bincount(seen[train], minlength=len(self._known[column])) >= least
            codes[:, place] = np.where(kept, np.cumsum(kept), 0)[seen]
            sizes.append(int(kept.sum()) + 1)
        parts = [torch.from_numpy(codes)]
        if self.numbers:
            values = np.concatenate(self._values)
            self._values.clear()
            for column in values.T:
                own = column[train].astype(np.float64)
                deviation = own.std()
                column[:] = (column - own.mean()) / (deviation if deviation > 0 else 1.0)
            parts.append(torch.from_numpy(values))
        labels = {column: torch.from_numpy(np.concatenate(found)) for column, found in self._labels.items()}
        return {
            split: Batch(
                parts[0][chosen] if len(parts) == 1 else tuple(part[chosen] for part in parts),
                {column: label[chosen] for column, label in labels.items()},
            )
            for split, chosen in rows.items()
        }, sizes
