"""Values that stay the same over many coordinates in a row, such as the layer: small enough to be sent to a worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class RunLengths:
    """An array along coord, as the places where its value changes.

    >>> codes = RunLengths(np.array([5, 5, 7, 7, 7]))
    >>> codes.within(slice(1, 4))
    (array([0, 1]), array([5, 7]))
    >>> codes.expand(slice(1, 4))
    array([5, 7, 7])
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self._starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)]).astype(np.int64)
        self._values = values[self._starts]

    def within(self, coords: slice) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """First coordinate, counted from the start of ``coords`` (which is not empty), and value of each piece."""
        first, last = self.number(coords.start), int(np.searchsorted(self._starts, coords.stop))
        return np.maximum(self._starts[first:last] - coords.start, 0), self._values[first:last]

    def number(self, coord: int) -> int:
        """Which piece holds a coordinate."""
        return int(np.searchsorted(self._starts, coord, side="right")) - 1

    def expand(self, coords: slice) -> NDArray[Any]:
        """The values of ``coords``."""
        starts, values = self.within(coords)
        return np.repeat(values, np.diff(starts, append=coords.stop - coords.start))
