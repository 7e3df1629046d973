"""How each array is cut into chunks, what a chunk is called, and how many bytes it can take at worst."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dominance.schema import COORD_CHUNK, STEP_CHUNK, ArraySpec
from dominance.store.codec import OVERHEAD, codec_metadata, largest, little_endian
from dominance.store.room import folder, rounded
from dominance.store.seal import sealed

EVENT_CHUNK = 4096
"""Rows of metric/* in a chunk."""

_MOST_ROWS = EVENT_CHUNK
_SMALL_CHUNK = 1 << 16  # bytes to which a chunk of a small array is lengthened
_LONGER_CHUNK = 1 << 18
_BLOCKS_OF_LONGER = 4
"""Bytes to which it is lengthened further, so that hardly a share of it is what a disk leaves unused of the last of its
own blocks; but it is written again for each of these blocks of rows."""
_SMALL_BLOCK = 1 << 21  # bytes that a block of small rows may have
_LONGEST_BLOCK = 256  # rows
_OPEN = 8  # the chunks that are not full are no more than this part of a budget, where they can be shortened to that
_LARGE_CHUNK = 1 << 24  # bytes that a chunk of per-layer statistics may have
_TASK_CHUNK = 2  # fewest tasks in a chunk, where more than one is

Tile = tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """One array of a run and its regular chunk grid. ``chunk`` has the growing dim first, as the array has.

    ``separator`` stands between the numbers in a chunk's name. With "/", as in runs of before, each is a folder.
    """

    spec: ArraySpec
    chunk: tuple[int, ...]
    separator: str = "."

    @property
    def path(self) -> str:
        return self.spec.path

    @property
    def rows(self) -> int:
        """Rows of one chunk."""
        return self.chunk[0]

    @property
    def fill(self) -> float | int:
        return float("nan") if np.dtype(self.spec.dtype).kind == "f" else -1

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks along every dim but the growing one."""
        return tuple(-(-size // length) for size, length in zip(self.spec.shape, self.chunk[1:], strict=True))

    def tiles(self) -> Iterator[Tile]:
        return itertools.product(*(range(count) for count in self.counts))

    def slices(self, tile: Tile) -> tuple[slice, ...]:
        """Where ``tile`` lies in one row, cut at the row's end."""
        return tuple(
            slice(number * length, min((number + 1) * length, size))
            for number, length, size in zip(tile, self.chunk[1:], self.spec.shape, strict=True)
        )

    def key(self, index: int, tile: Tile) -> str:
        """File of the chunk: ``index`` counts along the growing dim."""
        return chunk_key(self.path, (index, *tile), self.separator)

    def index_of(self, key: str) -> int | None:
        """``index`` of the chunk that lies in the file; None of a file that is no chunk of this array."""
        begin = f"{self.path}/c{self.separator}"
        return int(key[len(begin) :].split(self.separator)[0]) if key.startswith(begin) else None

    def full(self, rows: int) -> npt.NDArray[Any]:
        """``rows`` rows of fill."""
        return np.full((rows, *self.spec.shape), self.fill, little_endian(self.spec.dtype))

    def must_exist(self, index: int, tile: Tile, rows: int, since: Sequence[int]) -> bool:
        """Whether a run of ``rows`` rows has this chunk; ``since[k]`` is the first row that knows task k."""
        first_known = 0
        for dim, place in zip(self.spec.dims[1:], self.slices(tile), strict=True):
            if dim in ("task", "task_other"):
                first_known = max(first_known, min(since[place]))
        return first_known < min(rows, (index + 1) * self.rows) and index * self.rows < rows

    @cached_property
    def largest(self) -> int:
        """Most bytes that one chunk can take."""
        return largest(self.spec.dtype, self.chunk)

    @cached_property
    def _number(self) -> int:
        return prod(self.counts)

    @cached_property
    def _folders_of_one(self) -> int:
        """Folders for the chunks of one ``index``, where numbers are separated by "/"."""
        return sum(prod(self.counts[:depth]) for depth in range(len(self.counts)))

    def worst_case(self, first: int, last: int, block: int = 1) -> int:
        """Most bytes of the chunks that hold the rows ``first`` to ``last`` (without it), when ``last`` is the end.

        The chunk that ``first`` lies in counts whole. A half-filled chunk holds its rows, which may be incompressible,
        and fill, which LZ4 shrinks to less than a hundredth.

        Args:
            block: bytes of which a file takes a whole number; above 1, folders and what they grow by count too.
        """
        full, rest = last // self.rows - first // self.rows, last % self.rows
        need = self._number * (full * rounded(self.largest, block) + rounded(self._half_filled(rest), block))
        return need if block == 1 else need + self._folders_grow(first, last, block)

    def _folders_grow(self, first: int, last: int, block: int) -> int:
        before, after = -(-first // self.rows), -(-last // self.rows)
        if self.separator == "/":
            return (after - before + 1) * self._folders_of_one * block + folder(after - before + 1, block)
        other = 2  # zarr.json, and a chunk that is being written
        return folder(other + after * self._number, block) - folder(other + before * self._number, block)

    def largest_file(self, last: int) -> int:
        """Most bytes of one chunk while there are no more than ``last`` rows."""
        return self.largest if last >= self.rows else self._half_filled(last)

    def _half_filled(self, rows: int) -> int:
        if rows == 0:
            return 0
        held = (self.largest - OVERHEAD) * rows // self.rows
        return min(self.largest, held + (self.largest - held) // 100 + 2048)

    def widened(self, tasks: int) -> Grid:
        """The same array for more tasks; the chunks that are there keep their place."""
        dims = self.spec.dims[1:]
        shape = tuple(
            tasks if dim in ("task", "task_other") else size for dim, size in zip(dims, self.spec.shape, strict=True)
        )
        return replace(self, spec=replace(self.spec, shape=shape))

    def metadata(self, rows: int) -> bytes:
        """The array's zarr.json when it holds ``rows`` rows."""
        return array_metadata(self.spec.dtype, (rows, *self.spec.shape), self.chunk, self.spec.dims, self.separator)


def chunk_key(path: str, numbers: Sequence[int], separator: str = ".") -> str:
    """File of a chunk.

    >>> chunk_key("update/total", (3, 0)), chunk_key("step", (2,), "/")
    ('update/total/c.3.0', 'step/c/2')
    """
    return f"{path}/c{separator}{separator.join(map(str, numbers))}"


def array_of(key: str) -> str:
    """The path of the array whose chunk lies in a file; of other files anything.

    >>> array_of("update/total/c.3.0"), array_of("step/c/2")
    ('update/total', 'step')
    """
    path, found, _ = key.partition("/c/")
    return path if found else key.rpartition("/")[0]


def is_of_chunks(key: str) -> bool:
    """Whether a file is a chunk of an array, or a folder of chunks alone."""
    return "/c/" in f"{key}/" or key.rpartition("/")[2].startswith("c.")


def array_metadata(
    dtype: str, shape: Sequence[int], chunk: Sequence[int], dims: Sequence[str], separator: str = "."
) -> bytes:
    """A Zarr v3 array's zarr.json."""
    floating = np.dtype(dtype).kind == "f"
    document = {
        "attributes": {},
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": "NaN" if floating else -1,
        "codecs": codec_metadata(dtype),
        "dimension_names": list(dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return sealed(document)


def block_rows(specs: Sequence[ArraySpec], budget: int | None = None) -> int:
    """Steps that are buffered and written together: fewer when a step is large, or a budget small."""
    row = _bytes(specs, 1)
    if row > 1 << 20:
        return 16 if row <= 1 << 24 else 4
    most = _SMALL_BLOCK if budget is None else min(_SMALL_BLOCK, budget // _OPEN // 4)
    rows = STEP_CHUNK
    while rows < _LONGEST_BLOCK and 2 * rows * row <= most:
        rows *= 2
    return rows


def cut(specs: Sequence[ArraySpec], block: int, budget: int | None = None) -> dict[str, Grid]:
    """The chunk grid of every array whose rows are written ``block`` at a time, within a budget in bytes."""
    small = _LONGER_CHUNK
    while True:
        grids = {spec.path: Grid(spec, _chunk(spec, block, small)) for spec in specs}
        longer = [grid for grid in grids.values() if grid.rows > block]
        if (
            budget is None
            or not longer
            or not small
            or sum(prod(grid.counts) * grid.largest for grid in longer) <= budget // _OPEN
        ):
            return grids
        small //= 2


def _bytes(specs: Sequence[ArraySpec], rows: int) -> int:
    return rows * sum(prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)


def _chunk(spec: ArraySpec, block: int, small: int) -> tuple[int, ...]:
    item = np.dtype(spec.dtype).itemsize
    sizes = dict(zip(spec.dims[1:], spec.shape, strict=True))
    per_coordinate = "coord" in sizes
    for task in ("task", "task_other"):
        if task in sizes:
            sizes[task] = 1 if per_coordinate else max(sizes[task], _TASK_CHUNK)
    if per_coordinate:
        sizes["coord"] = _even(sizes["coord"], COORD_CHUNK if block >= STEP_CHUNK else 2_000_000 // block)
    elif "layer" in sizes:
        beside = prod(size for dim, size in sizes.items() if dim != "layer")
        sizes["layer"] = _even(sizes["layer"], max(1, _LARGE_CHUNK // (beside * block * item)))
    rows = block
    row = prod(sizes.values()) * item
    while rows < _MOST_ROWS:
        rows *= 2
        if rows * row > (small if rows <= _BLOCKS_OF_LONGER * block else min(small, _SMALL_CHUNK)):
            rows //= 2
            break
    return rows, *(max(1, size) for size in sizes.values())


def _even(size: int, most: int) -> int:
    """Length of equal pieces of ``size``, none longer than ``most``: the last chunk is then hardly padded."""
    pieces = max(1, -(-size // most))
    return max(1, -(-size // pieces))
