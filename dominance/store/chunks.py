"""Blocks of a stored per-coordinate array, decoded into memory that is used again.

zarr-python allocates every chunk anew, twice; on chunks of 6-16 MB the page faults of that cost as much as the
decompression (measured: 1.1 against 1.7 GB/s a core). What streams a whole run reads it through this instead.
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from dominance.errors import CorruptRun
from dominance.store.codec import codec_metadata
from dominance.store.files import Files, Scratch, files_of


class ChunkReader:
    """Reads one array of dims (step, [task,] coord), whose chunks hold one task, for one thread.

    Args:
        array: of a run, from ``dominance.store.reader.array``.
        coords: the coordinates that are read.
        files: those of the run, for the address in messages; by default taken from the array.

    Raises:
        ValueError: the chunks are not in the form that ``supports`` asks for.
    """

    def __init__(self, array: Any, coords: slice, files: Files | None = None) -> None:
        if not supports(array):
            raise ValueError(f"{array.path}: not written by dominance")
        self._array = array
        self._files = files_of(array.store) if files is None else files
        self._packed = Scratch()
        self._coords = coords
        steps, width = array.chunks[0], array.chunks[-1]
        self._tasks = array.shape[1:-1]
        self._first, self._last = coords.start // width, -(-coords.stop // width)
        self._chunk = np.empty((steps, width), dtype=array.dtype)
        self._block = np.empty((*self._tasks, steps, coords.stop - coords.start), dtype=array.dtype)

    def read(self, steps: slice) -> NDArray[Any]:
        """(step, [task,] coord): a view that the next call overwrites.

        Args:
            steps: inside one chunk along step, from its first row on.

        Raises:
            CorruptRun: a checksum does not match.
            Unreachable: the store does not answer.
        """
        length, width = self._chunk.shape
        tiles = [(task, n) for task in np.ndindex(*self._tasks) for n in range(self._first, self._last)]
        name = self._array.metadata.encode_chunk_key
        keys = [f"{self._array.path}/{name((steps.start // length, *task, number))}" for task, number in tiles]
        for (task, number), key, packed in zip(tiles, keys, self._files.stream(keys, self._packed), strict=True):
            start, stop = max(number * width, self._coords.start), min((number + 1) * width, self._coords.stop)
            target = self._block[task][:, start - self._coords.start : stop - self._coords.start]
            if packed is None:  # rows from before this task was found
                target[...] = np.nan
                continue
            whole = target.flags.c_contiguous and stop - start == width
            self._decode(key, packed, target if whole else self._chunk)
            if not whole:
                target[...] = self._chunk[:, start - number * width : stop - number * width]
        return np.moveaxis(self._block[..., : steps.stop - steps.start, :], -2, 0)

    def _decode(self, key: str, data: NDArray[np.uint8], out: NDArray[Any]) -> None:
        packed, checksum = data[: max(len(data) - 4, 0)], data[max(len(data) - 4, 0) :].tobytes()
        try:
            if google_crc32c.value(packed).to_bytes(4, "little") != checksum:
                raise ValueError("checksum does not match")
            blosc.decompress(packed, out)
        except (ValueError, RuntimeError) as error:
            where = f"{self._files.where}/{key}"
            raise CorruptRun(
                f"{where}: cannot be read ({error})", fix="see what is damaged: dominance info --verify"
            ) from error


def supports(array: Any) -> bool:
    """Whether the chunks of an array are as dominance writes them: one task each, its own codecs."""
    codecs = [codec.to_dict() for codec in array.metadata.codecs]
    single = all(length == 1 for length in array.chunks[1:-1])
    return single and codecs == codec_metadata(str(array.dtype))
