"""Rows on their way to disk: buffered in blocks by the caller, cut into chunks by the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from dominance.errors import CorruptRun, RecordingFailed
from dominance.store.codec import decode, encode, little_endian, round_mantissa
from dominance.store.disk import Disk
from dominance.store.grid import Grid, array_of

Block = dict[str, npt.NDArray[Any]]

_THIRD_BUFFER = 1 << 26  # blocks above this many bytes have two buffers, not three


@dataclass(frozen=True)
class Head:
    """The first ``count`` rows of ``block``, whose row 0 is row ``start`` of the stream. Filled rows never change."""

    block: Block
    start: int
    count: int


class Stream:
    """The arrays that grow together along one dim.

    The caller's side is ``append``; the side of the writer's thread is ``write``. They share ``head``, replaced as a
    whole, and the queue of free blocks; the caller refills no block that the thread has not given back.

    Args:
        grids: the arrays, by path.
        block: rows of a block, at most; the chunks of all arrays have as many, or a multiple of it, where not fewer.
        on_full: called with a full block before the row that needs the next one; must lead to ``write``, ``give_back``.
        alive: whether blocks can still be expected back.

    Attributes:
        committed: rows on disk; the thread's.
        waited: seconds that the caller waited for a free block.
    """

    def __init__(
        self, grids: dict[str, Grid], block: int, *, on_full: Callable[[Head], None], alive: Callable[[], bool]
    ) -> None:
        self.block_rows = min(block, *(grid.rows for grid in grids.values()))
        self.grids = grids
        self.committed = 0
        self.waited = 0.0
        self.head: Head | None = None
        self._on_full = on_full
        self._alive = alive
        self._first = 0
        self._given_back = -1
        self._tails: Block = {}
        self._scratch: dict[tuple[tuple[int, ...], str], npt.NDArray[Any]] = {}
        self._free: SimpleQueue[Block] = SimpleQueue()
        self._allocate()

    def _allocate(self) -> None:
        self._free = SimpleQueue()
        first = self._new_block()
        size = sum(array.nbytes for array in first.values())
        for block in (first, *(self._new_block() for _ in range(2 if size <= _THIRD_BUFFER else 1))):
            self._free.put(block)
        # Arrays whose chunks are longer than a block keep the rows of the chunk that is not full.
        self._tails = {path: grid.full(grid.rows) for path, grid in self.grids.items() if grid.rows != self.block_rows}
        self._scratch = {}

    def _new_block(self) -> Block:
        # Filling it also touches its pages, so that no training step pays for that.
        return {path: grid.full(self.block_rows) for path, grid in self.grids.items()}

    @property
    def count(self) -> int:
        """Rows appended."""
        return self._first if self.head is None else self.head.start + self.head.count

    def append(self, row: Mapping[str, Any]) -> None:
        """Copy one row into the block, waiting for a free one where needed.

        Raises:
            ValueError: an array of the row is unknown, or has another shape than the run.
        """
        if not row.keys() <= self.grids.keys():
            raise ValueError(f"the run has no array {', '.join(sorted(row.keys() - self.grids.keys()))}")
        # An exception, Ctrl-C included, may end this at any line: the row counts from the last assignment on.
        head = self.head
        if head is None or head.count == self.block_rows:
            if head is not None:
                self._on_full(head)
            head = Head(self._take_block(), self.count, 0)
        for path, grid in self.grids.items():
            value = row.get(path)
            if value is None:
                head.block[path][head.count] = grid.fill
            elif np.shape(value) != grid.spec.shape:
                raise ValueError(f"{path}: a row of shape {np.shape(value)} where {grid.spec.shape} is due")
            else:
                head.block[path][head.count] = value
        self.head = Head(head.block, head.start, head.count + 1)

    def _take_block(self) -> Block:
        try:
            return self._free.get_nowait()
        except Empty:
            begun = perf_counter()
        try:
            while True:
                try:
                    return self._free.get(timeout=1.0)
                except Empty:
                    if not self._alive():
                        raise RecordingFailed("the thread that writes the run is gone", fix="close the run") from None
        finally:
            self.waited += perf_counter() - begun

    def give_back(self, head: Head) -> None:
        """Free the block of a head passed to ``on_full``; a second time for the same rows is nothing."""
        if head.start > self._given_back:
            self._given_back = head.start
            self._free.put(head.block)

    def waits(self, head: Head) -> bool:
        """Whether rows before the head still wait in the queue; they must come first."""
        return head.start > self.committed

    def write(self, disk: Disk, head: Head) -> bool:
        """Write the rows of ``head`` that are not on disk yet: the chunks, then the shapes. False when none is due.

        A chunk that was written half-filled is replaced by one that begins with the same rows, so that a reader sees
        every announced row in the old file and in the new one.
        """
        end = head.start + head.count
        if end <= self.committed or self.waits(head):
            return False
        for path, grid in self.grids.items():
            rows = self._rows(path, grid, head, end)
            index = (end - 1) // grid.rows
            for tile in grid.tiles():
                disk.put(grid.key(index, tile), encode(self._chunk(grid, tile, rows)))
        for key, data in self.metadata(end).items():
            disk.put(key, data)
        self.committed = end
        return True

    def _rows(self, path: str, grid: Grid, head: Head, end: int) -> npt.NDArray[Any]:
        """The rows of the chunk that row ``end - 1`` lies in, up to that row."""
        if path not in self._tails:
            return head.block[path][: head.count]
        tail = self._tails[path]
        begin = max(self.committed, head.start)
        tail[begin % grid.rows : begin % grid.rows + end - begin] = head.block[path][begin - head.start : head.count]
        return tail[: (end - 1) % grid.rows + 1]

    def _chunk(self, grid: Grid, tile: tuple[int, ...], rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        places = grid.slices(tile)
        key = grid.chunk, grid.spec.dtype
        if key not in self._scratch:
            self._scratch[key] = np.empty(grid.chunk, little_endian(grid.spec.dtype))
        chunk = self._scratch[key]
        extent = tuple(place.stop - place.start for place in places)
        if extent != grid.chunk[1:]:
            chunk[...] = grid.fill
        chunk[len(rows) :] = grid.fill
        chunk[(slice(len(rows)), *(slice(length) for length in extent))] = rows[(slice(None), *places)]
        if grid.spec.round_mantissa:
            round_mantissa(chunk)
        return chunk

    def load(self, disk: Disk, rows: int, since: Sequence[int]) -> None:
        """Go on after row ``rows`` of a run that is there: drop what lies behind it, read the chunks that are not full.

        Raises:
            CorruptRun: a chunk is missing or damaged.
        """
        self._first = self.committed = rows
        for key, data in self.metadata(rows).items():
            disk.put(key, data)
        for key in disk.files():
            grid = self.grids.get(array_of(key))
            index = None if grid is None else grid.index_of(key)
            if grid is not None and index is not None and index * grid.rows >= rows:
                disk.remove(key)
        begun = rows % self.block_rows
        block = self._take_block()
        for path, grid in self.grids.items():
            if filled := rows % grid.rows:
                last = self._read(disk, grid, rows // grid.rows, rows, since)
                if path in self._tails:
                    self._tails[path][:filled] = last[:filled]
                block[path][:begun] = last[filled - begun : filled]
        if begun:
            self.head = Head(block, rows - begun, begun)
        else:
            self._free.put(block)

    def _read(self, disk: Disk, grid: Grid, index: int, rows: int, since: Sequence[int]) -> npt.NDArray[Any]:
        result = grid.full(grid.rows)
        for tile in grid.tiles():
            if not grid.must_exist(index, tile, rows, since):
                continue
            try:
                chunk = decode(disk.get(grid.key(index, tile)), grid.spec.dtype, grid.chunk)
            except (FileNotFoundError, ValueError) as error:
                raise CorruptRun(
                    f"{disk.root.parent}: chunk {grid.key(index, tile)} cannot be read ({error})",
                    fix="record anew with --force",
                ) from None
            places = grid.slices(tile)
            extent = tuple(slice(place.stop - place.start) for place in places)
            result[(slice(None), *places)] = chunk[(slice(None), *extent)]
        return result

    def grow_tasks(self, tasks: int) -> None:
        """Widen every array with a task dim; everything appended must be written already."""
        old_head, old_tails = self.head, self._tails
        self.grids = {path: grid.widened(tasks) for path, grid in self.grids.items()}
        self._allocate()
        for path, tail in old_tails.items():
            _paste(tail, self._tails[path])
        if old_head is not None:
            block = self._take_block()
            for path, rows in old_head.block.items():
                _paste(rows[: old_head.count], block[path])
            self.head = Head(block, old_head.start, old_head.count)

    def metadata(self, rows: int) -> dict[str, bytes]:
        """The zarr.json of every array when it holds ``rows`` rows."""
        return {f"{path}/zarr.json": grid.metadata(rows) for path, grid in self.grids.items()}

    def open_keys(self) -> list[str]:
        """Files that later rows will replace: metadata, and chunks that are not full."""
        keys = [f"{path}/zarr.json" for path in self.grids]
        for grid in self.grids.values():
            if self.committed % grid.rows:
                keys += [grid.key(self.committed // grid.rows, tile) for tile in grid.tiles()]
        return keys

    def worst_case(self, committed: int, last: int, block: int) -> int:
        """Most bytes of the chunks of rows ``committed`` to ``last``, see Grid.worst_case."""
        return sum(grid.worst_case(committed, last, block) for grid in self.grids.values())

    def largest_chunks(self, block: int) -> int:
        """Most bytes of the chunks that are not full, and of what the thread may have before it."""
        return sum(grid.worst_case(0, grid.rows + 2 * self.block_rows, block) for grid in self.grids.values())

    def largest_file(self, last: int) -> int:
        """Most bytes of a single chunk while there are no more than ``last`` rows."""
        return max(grid.largest_file(last) for grid in self.grids.values())


def _paste(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> None:
    new[tuple(slice(size) for size in old.shape)] = old
