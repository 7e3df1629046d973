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
from dominance.store.seal import sealed

EVENT_CHUNK = 4096
"""Rows of metric/* in a chunk."""

_SMALL_CHUNK = 1 << 16  # bytes that a chunk of a small array may have before its rows are 4,096
_LARGE_CHUNK = 1 << 24  # bytes that a chunk of per-layer statistics may have
_TASK_CHUNK = 2  # fewest tasks in a chunk, where more than one is

Tile = tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """One array of a run and its regular chunk grid. ``chunk`` has the growing dim first, as the array has."""

    spec: ArraySpec
    chunk: tuple[int, ...]

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
        return "/".join((self.path, "c", *map(str, (index, *tile))))

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

    def worst_case(self, first: int, last: int) -> int:
        """Most bytes of the chunks that hold the rows ``first`` to ``last`` (without it), when ``last`` is the end.

        The chunk that ``first`` lies in counts whole. A half-filled chunk holds its rows, which may be incompressible,
        and fill, which LZ4 shrinks to less than a hundredth.
        """
        full = last // self.rows - first // self.rows
        return self._number * (full * self.largest + self._half_filled(last % self.rows))

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
        return array_metadata(self.spec.dtype, (rows, *self.spec.shape), self.chunk, self.spec.dims)


def array_metadata(dtype: str, shape: Sequence[int], chunk: Sequence[int], dims: Sequence[str]) -> bytes:
    """A Zarr v3 array's zarr.json."""
    floating = np.dtype(dtype).kind == "f"
    document = {
        "attributes": {},
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if floating else -1,
        "codecs": codec_metadata(dtype),
        "dimension_names": list(dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return sealed(document)


def block_rows(specs: Sequence[ArraySpec]) -> int:
    """Steps that are buffered and written together: fewer when a step is large."""
    row = sum(prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)
    if row <= 1 << 20:
        return STEP_CHUNK
    return 16 if row <= 1 << 24 else 4


def cut(specs: Sequence[ArraySpec], block: int) -> dict[str, Grid]:
    """The chunk grid of every array whose rows are written ``block`` at a time."""
    return {spec.path: Grid(spec, _chunk(spec, block)) for spec in specs}


def _chunk(spec: ArraySpec, block: int) -> tuple[int, ...]:
    item = np.dtype(spec.dtype).itemsize
    sizes = dict(zip(spec.dims[1:], spec.shape, strict=True))
    per_coordinate = "coord" in sizes
    for task in ("task", "task_other"):
        if task in sizes:
            sizes[task] = 1 if per_coordinate else max(sizes[task], _TASK_CHUNK)
    if per_coordinate:
        sizes["coord"] = _even(sizes["coord"], COORD_CHUNK if block == STEP_CHUNK else 2_000_000 // block)
        return block, *sizes.values()
    if "layer" in sizes:
        beside = prod(size for dim, size in sizes.items() if dim != "layer")
        sizes["layer"] = _even(sizes["layer"], max(1, _LARGE_CHUNK // (beside * block * item)))
    rows = block
    while rows < EVENT_CHUNK and 2 * rows * prod(sizes.values()) * item <= _SMALL_CHUNK:
        rows *= 2
    return rows, *(max(1, size) for size in sizes.values())


def _even(size: int, most: int) -> int:
    """Length of equal pieces of ``size``, none longer than ``most``: the last chunk is then hardly padded."""
    pieces = max(1, -(-size // most))
    return max(1, -(-size // pieces))
