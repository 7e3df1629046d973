"""Blocks of a stored per-coordinate array, decoded into memory that is used again.

Fresh memory for every chunk of 6-16 MB costs as much in page faults as the decompression (measured: 1.1 against 1.7
GB/s a core). What streams a whole run reads it through this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dominance.errors import CorruptRun
from dominance.schema import DATA_NAME
from dominance.store.codec import decode_into, little_endian
from dominance.store.files import Scratch
from dominance.store.lazy import StoredArray


class ChunkReader:
    """Reads one array of dims (step, [task,] coord), whose chunks hold one task, for one thread.

    Args:
        array: of a run, one that ``supports`` knows.
        coords: the coordinates that are read.

    Raises:
        ValueError: its chunks hold several tasks.
    """

    def __init__(self, array: StoredArray, coords: slice) -> None:
        if not supports(array):
            raise ValueError(f"{array.grid.path}: its chunks hold several tasks")
        self._array = array
        self._packed = Scratch()
        self._coords = coords
        steps, width = array.grid.rows, array.grid.chunk[-1]
        self._tasks = array.shape[1:-1]
        self._first, self._last = coords.start // width, -(-coords.stop // width)
        dtype = little_endian(array.grid.spec.dtype)
        self._chunk = np.empty((steps, width), dtype)
        self._block = np.empty((*self._tasks, steps, coords.stop - coords.start), dtype)

    def read(self, steps: slice) -> NDArray[Any]:
        """(step, [task,] coord): a view that the next call overwrites.

        Args:
            steps: inside one chunk along step, from its first row on.

        Raises:
            CorruptRun: a chunk is missing, or a checksum does not match.
            Unreachable: the store does not answer.
        """
        length, width = self._chunk.shape
        index, grid = steps.start // length, self._array.grid
        tiles = [(*task, n) for task in np.ndindex(*self._tasks) for n in range(self._first, self._last)]
        keys = [f"{DATA_NAME}/{grid.key(index, tile)}" for tile in tiles]
        chunks = self._array.files.stream(keys, self._packed, grid.largest)
        for tile, key, packed in zip(tiles, keys, chunks, strict=True):
            *task, number = tile
            start, stop = max(number * width, self._coords.start), min((number + 1) * width, self._coords.stop)
            target = self._block[tuple(task)][:, start - self._coords.start : stop - self._coords.start]
            if packed is None:
                if self._array.must_exist(index, tile):
                    raise self._array.missing(grid.key(index, tile))
                target[...] = np.nan  # rows from before this task was found
                continue
            whole = target.flags.c_contiguous and stop - start == width
            self._decode(key, packed, target if whole else self._chunk)
            if not whole:
                target[...] = self._chunk[:, start - number * width : stop - number * width]
        return np.moveaxis(self._block[..., : steps.stop - steps.start, :], -2, 0)

    def _decode(self, key: str, data: NDArray[np.uint8], out: NDArray[Any]) -> None:
        try:
            decode_into(data, out)
        except ValueError as error:
            where = f"{self._array.files.where}/{key}"
            raise CorruptRun(
                f"{where}: cannot be read ({error})", fix="see what is damaged: dominance info --verify"
            ) from error


def supports(array: StoredArray) -> bool:
    """Whether each chunk of an array holds one task."""
    return all(length == 1 for length in array.grid.chunk[1:-1])
