"""Arrays too large for memory, read in blocks of steps over tiles of coordinates, two tiles at a time.

Every per-coordinate analysis runs over this one loop: coordinates are independent of each other, so a tile holds all
tasks of its coordinates and sees the steps in order, and what is kept in memory does not grow with the run's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from math import prod
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.schema import COORD_CHUNK, STEP_CHUNK
from dominance.store.chunks import ChunkReader, supports
from dominance.store.reader import array as stored_array

T = TypeVar("T")
Blocks = Iterator[tuple[slice, dict[str, NDArray[Any]]]]


@dataclass(frozen=True)
class Plan:
    """How a run is cut up. No result depends on it; memory and speed do.

    Args:
        steps, coords: rows and columns of a block where the store has no chunks that decide it.
        memory: bytes of raw values that one thread may hold at once; a block of more than that is read in narrower
            tiles, each of which decompresses the chunk again.
        threads: tiles that are worked on at once.
    """

    steps: int = STEP_CHUNK
    coords: int = COORD_CHUNK
    memory: int = 128 * 2**20
    threads: int = 2


DEFAULT = Plan()


class Source:
    """One array of a run with dims (step, ..., coord): the store's own array where there is one, else xarray's."""

    def __init__(self, run: xr.DataTree, path: str) -> None:
        self.path = path
        self._variable: xr.Variable = run[path].variable
        self._stored: Any = stored_array(run, path)
        self.shape: tuple[int, ...] = self._variable.shape
        self.row_bytes = prod(self.shape[1:-1]) * self._variable.dtype.itemsize
        """Bytes of one coordinate in one step."""

    def chunk(self, plan: Plan) -> tuple[int, int]:
        """Steps and coordinates that are best read together."""
        if self._stored is None:
            return plan.steps, plan.coords
        return int(self._stored.chunks[0]), int(self._stored.chunks[-1])

    def reader(self, coords: slice) -> Callable[[slice], NDArray[Any]]:
        """For one thread: steps, along the chunks, in; (step, ..., coord) out, which the next call may overwrite."""
        if self._stored is not None and supports(self._stored):
            return ChunkReader(self._stored, coords).read
        return lambda steps: self._variable.isel(step=steps, coord=coords).to_numpy()


def tiles(source: Source, wanted: NDArray[np.bool_], plan: Plan = DEFAULT, arrays: int = 1) -> list[slice]:
    """Ranges of coordinates that cover the wanted ones, along the chunks of the store, each trimmed to what is wanted.

    Args:
        wanted: (coord,).
        arrays: how many arrays like ``source`` are read together.
    """
    steps, coords = source.chunk(plan)
    widest = max(1, plan.memory // (steps * source.row_bytes * arrays))
    parts = -(-coords // widest)
    width = -(-coords // parts)
    found = []
    for chunk in range(0, len(wanted), coords):
        end = min(chunk + coords, len(wanted))
        for start in range(chunk, end, width):
            inside = np.flatnonzero(wanted[start : min(start + width, end)])
            if len(inside):
                found.append(slice(start + int(inside[0]), start + int(inside[-1]) + 1))
    return found


def over_tiles(
    run: xr.DataTree,
    paths: Sequence[str],
    work: Callable[[slice, Blocks], T],
    *,
    wanted: NDArray[np.bool_],
    plan: Plan = DEFAULT,
) -> list[T]:
    """Call ``work(coords, blocks)`` for every tile, in ``plan.threads`` threads; results in the order of coordinates.

    ``blocks`` yields (steps, {path: array (step, ..., coord)}) from the first recorded step to the last. ``work`` may
    leave it early. A block is a view into the run or into a buffer that the next block overwrites: change nothing, copy
    what is to stay.

    Args:
        paths: "group/name" of arrays with dims (step, ..., coord).
        wanted: (coord,) coordinates that the analysis needs; tiles without any are not read.
    """
    sources = {path: Source(run, path) for path in paths}
    first = sources[paths[0]]
    length = first.chunk(plan)[0]
    count = first.shape[0]

    rows = [slice(start, min(start + length, count)) for start in range(0, count, length)]
    parts = tiles(first, wanted, plan, len(paths))
    with ThreadPoolExecutor(plan.threads) as pool:
        if len(parts) > 1 or plan.threads == 1:
            return list(pool.map(lambda part: work(part, _blocks(sources, rows, part)), parts))
        return [work(part, _ahead(sources, rows, part, pool)) for part in parts]


Sources = Mapping[str, Source]


def _blocks(sources: Sources, rows: Sequence[slice], coords: slice) -> Blocks:
    readers = {path: source.reader(coords) for path, source in sources.items()}
    for steps in rows:
        yield steps, {path: read(steps) for path, read in readers.items()}


def _ahead(sources: Sources, rows: Sequence[slice], coords: slice, pool: Executor) -> Blocks:
    """The same for a run of one tile: while a block is worked on, another thread reads the next into its own buffer."""
    halves = [_blocks(sources, rows[parity::2], coords) for parity in (0, 1)]
    coming = pool.submit(next, halves[0], None)
    for half in cycle((1, 0)):
        block = coming.result()
        if block is None:
            return
        coming = pool.submit(next, halves[half], None)
        yield block
