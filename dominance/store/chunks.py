"""Blocks of a stored per-coordinate array, decoded into memory that is used again.

zarr-python allocates every chunk anew, twice; on chunks of 6-16 MB the page faults of that cost as much as the
decompression (measured: 1.1 against 1.7 GB/s a core). What streams a whole run reads it through this instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from dominance.errors import CorruptRun
from dominance.store.codec import codec_metadata


class ChunkReader:
    """Reads one array of dims (step, [task,] coord), whose chunks hold one task, for one thread.

    Args:
        array: of a run, from ``dominance.store.reader.array``.
        coords: the coordinates that are read.

    Raises:
        ValueError: the chunks are not in the form that ``supports`` asks for.
    """

    def __init__(self, array: Any, coords: slice) -> None:
        if not supports(array):
            raise ValueError(f"{array.path}: not written by dominance")
        self._array = array
        self._coords = coords
        steps, width = array.chunks[0], array.chunks[-1]
        self._tasks = array.shape[1:-1]
        self._first, self._last = coords.start // width, -(-coords.stop // width)
        self._packed = np.empty(0, dtype=np.uint8)
        self._chunk = np.empty((steps, width), dtype=array.dtype)
        self._block = np.empty((*self._tasks, steps, coords.stop - coords.start), dtype=array.dtype)

    def read(self, steps: slice) -> NDArray[Any]:
        """(step, [task,] coord): a view that the next call overwrites.

        Args:
            steps: inside one chunk along step, from its first row on.

        Raises:
            CorruptRun: a checksum does not match.
        """
        length, width = self._chunk.shape
        for task in np.ndindex(*self._tasks):
            for number in range(self._first, self._last):
                start, stop = max(number * width, self._coords.start), min((number + 1) * width, self._coords.stop)
                target = self._block[task][:, start - self._coords.start : stop - self._coords.start]
                whole = target.flags.c_contiguous and stop - start == width
                self._decode((steps.start // length, *task, number), target if whole else self._chunk)
                if not whole:
                    target[...] = self._chunk[:, start - number * width : stop - number * width]
        return np.moveaxis(self._block[..., : steps.stop - steps.start, :], -2, 0)

    def _decode(self, index: tuple[int, ...], out: NDArray[Any]) -> None:
        path = Path(self._array.store.root, self._array.path, self._array.metadata.encode_chunk_key(index))
        try:
            with path.open("rb", buffering=0) as file:
                size = path.stat().st_size
                if len(self._packed) < size:
                    self._packed = np.empty(size, dtype=np.uint8)
                size = file.readinto(self._packed[:size].data) or 0
        except FileNotFoundError:  # rows from before this task was found
            out[...] = np.nan
            return
        packed, checksum = self._packed[: max(size - 4, 0)], self._packed[max(size - 4, 0) : size].tobytes()
        try:
            if google_crc32c.value(packed).to_bytes(4, "little") != checksum:
                raise ValueError("checksum does not match")
            blosc.decompress(packed, out)
        except (ValueError, RuntimeError) as error:
            raise CorruptRun(
                f"{path}: cannot be read ({error})", fix="see what is damaged: dominance info --verify"
            ) from error


def supports(array: Any) -> bool:
    """Whether the chunks of an array are as dominance writes them: one task each, its own codecs."""
    codecs = [codec.to_dict() for codec in array.metadata.codecs]
    single = all(length == 1 for length in array.chunks[1:-1])
    return single and hasattr(array.store, "root") and codecs == codec_metadata(str(array.dtype))
