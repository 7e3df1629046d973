"""Arrays too large for memory, read in blocks of steps over tiles of coordinates, two tiles at a time.

Every per-coordinate analysis runs over this one loop: coordinates are independent of each other, so a tile holds all
tasks of its coordinates and sees the steps in order, and what is kept in memory does not grow with the run's length.
Tiles are worked on by threads, or by dask when the run's arrays are dask's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import cycle
from math import prod
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.schema import COORD_CHUNK, STEP_CHUNK
from dominance.store.chunks import ChunkReader, supports
from dominance.store.lazy import behind, unchunked

T = TypeVar("T")
Blocks = Iterator[tuple[slice, dict[str, NDArray[Any]]]]
Work = Callable[[slice, Blocks], T]


@dataclass(frozen=True)
class TilePlan:
    """How a run is cut up. No result depends on it; memory and speed do.

    Args:
        steps, coords: rows and columns of a block where the store has no chunks that decide it.
        memory: bytes of raw values that one thread may hold at once; a block of more than that is read in narrower
            tiles, each of which decompresses the chunk again.
        threads: tiles that are worked on at once, unless dask decides it.
    """

    steps: int = STEP_CHUNK
    coords: int = COORD_CHUNK
    memory: int = 128 * 2**20
    threads: int = 2


DEFAULT = TilePlan()

_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, every run is streamed in one thread: there are others for other runs."""
    before = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(before)


class TiledArray:
    """One array of a run with dims (step, ..., coord): the store's own array where there is one, else xarray's.

    Attributes:
        on_dask: the array is dask's.
        graph: dask's array, where it is more than an array of a run cut into chunks; it is never read here.
    """

    def __init__(self, run: xr.DataTree, path: str) -> None:
        self.path = path
        variable = run[path].variable
        self.shape: tuple[int, ...] = variable.shape
        self.row_bytes = prod(self.shape[1:-1]) * variable.dtype.itemsize
        """Bytes of one coordinate in one step."""
        self.on_dask = variable.chunks is not None
        plain = unchunked(variable) if self.on_dask else variable
        self.graph: Any = variable.data if plain is None else None
        self._variable = variable if plain is None else plain
        self._stored = None if plain is None else behind(plain)

    def chunk(self, plan: TilePlan) -> tuple[int, int]:
        """Steps and coordinates that are best read together."""
        if self._stored is not None:
            return self._stored.grid.rows, self._stored.grid.chunk[-1]
        if self.graph is not None:
            return int(self.graph.chunksize[0]), int(self.graph.chunksize[-1])
        return plan.steps, plan.coords

    def reader(self, coords: slice) -> Callable[[slice], NDArray[Any]]:
        """For one thread: steps, along the chunks, in; (step, ..., coord) out, which the next call may overwrite."""
        whole = self._stored
        if whole is not None and supports(whole):
            return ChunkReader(whole, coords).read
        return lambda steps: self._variable.isel(step=steps, coord=coords).to_numpy()


def tiles(source: TiledArray, wanted: NDArray[np.bool_], plan: TilePlan = DEFAULT, arrays: int = 1) -> list[slice]:
    """Ranges of coordinates that cover the wanted ones, along the chunks of the store, each trimmed to what is wanted.

    Args:
        wanted: (coord,).
        arrays: how many arrays like ``source`` are read together.
    """
    steps, coords = source.chunk(plan)
    widest = max(1, plan.memory // max(1, steps * source.row_bytes * arrays))
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
    work: Work[T],
    *,
    wanted: NDArray[np.bool_],
    plan: TilePlan = DEFAULT,
) -> list[T]:
    """Call ``work(coords, blocks)`` for every tile; results in the order of coordinates.

    ``blocks`` yields (steps, {path: array (step, ..., coord)}) from the first recorded step to the last. ``work`` may
    leave it early. A block is a view into the run or into a buffer that the next block overwrites: change nothing, copy
    what is to stay.

    Tiles are worked on in ``plan.threads`` threads; or, when an array of the run is dask's (``run.chunk()``), as one
    task each of dask's scheduler. Another process may do it: ``work`` must be such that it can be sent there, and give
    what it found back rather than change anything. It opens the store itself and streams the chunks of its tile;
    only where dask's array has been computed with since, the tile's values are gathered first, all steps at once.

    Args:
        paths: "group/name" of arrays with dims (step, ..., coord).
        wanted: (coord,) coordinates that the analysis needs; tiles without any are not read.
    """
    plan = replace(plan, threads=1) if _alone.get() else plan
    sources = {path: TiledArray(run, path) for path in paths}
    first = sources[paths[0]]
    length = first.chunk(plan)[0]
    count = first.shape[0]

    rows = [slice(start, min(start + length, count)) for start in range(0, count, max(1, length))]
    parts = tiles(first, wanted, plan, len(paths))
    if any(source.on_dask for source in sources.values()):
        return _on_dask(sources, rows, parts, work)
    with ThreadPoolExecutor(plan.threads) as pool:
        if len(parts) > 1 or plan.threads == 1:
            return list(pool.map(lambda part: work(part, _blocks(sources, rows, part)), parts))
        return [work(part, _ahead(sources, rows, part, pool)) for part in parts]


Sources = Mapping[str, TiledArray]


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


def _on_dask(sources: Sources, rows: Sequence[slice], parts: Sequence[slice], work: Work[T]) -> list[T]:
    """One task a tile, with the steps inside: a graph that chains steps takes three times as long."""
    dask: Any = import_module("dask")
    streamed = {path: source for path, source in sources.items() if source.graph is None}
    shared = dask.delayed(_Shared(work, streamed, rows), pure=False, traverse=False)
    tile = dask.delayed(_tile, pure=False)
    tasks = []
    for part in parts:
        given = {path: source.graph[..., part] for path, source in sources.items() if source.graph is not None}
        tasks.append(tile(shared, part, given))
    return list(dask.compute(*tasks))


class _Shared:
    """What every task needs, once."""

    def __init__(self, work: Work[Any], streamed: Sources, rows: Sequence[slice]) -> None:
        self.work, self.streamed, self.rows = work, streamed, rows


def _tile(shared: _Shared, coords: slice, given: Mapping[str, NDArray[Any]]) -> Any:
    def blocks() -> Blocks:
        for steps, arrays in _blocks(shared.streamed, shared.rows, coords):
            yield steps, arrays | {path: values[steps] for path, values in given.items()}

    return shared.work(coords, blocks())
