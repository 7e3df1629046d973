"""How many rows a budget holds: reckoned at worst before a row is taken, since a row once taken is written."""

from __future__ import annotations

from dominance.store.attributes import Attributes
from dominance.store.disk import Disk
from dominance.store.grid import is_of_chunks
from dominance.store.room import rounded
from dominance.store.stream import Stream

SLACK = 1 << 14  # bytes that rows leave free for attributes set later
_NUMBERS = 2048  # bytes for groups and for longer numbers in the metadata
_LONGEST = 1 << 30  # rows


class Allowance:
    """What a run may take of the disk, and what its rows, events and attributes take of that.

    Args:
        budget: bytes; None for no limit.
        steps, events: the streams of rows.
        attributes: of the run.
        disk: where its files lie.
        reserve: bytes that rows leave free for what is put into the run when it is over.

    Attributes:
        settled: bytes that no later row will replace, and the rows of steps and of events that they are of.
    """

    def __init__(
        self, budget: int | None, steps: Stream, events: Stream, attributes: Attributes, disk: Disk, reserve: int
    ) -> None:
        self.budget = budget
        self.settled = 0, 0, 0
        self._steps, self._events, self._attributes, self._disk = steps, events, attributes, disk
        self._free = SLACK + reserve
        self._most: tuple[object, int] = None, 0
        self._sure = 0, 0, 0
        """Rows of steps and of events that are known to fit, with attributes of this size."""
        self._fixed = self._empty = 0

    def begin(self) -> None:
        """The run is laid out: what it takes now but for rows is what it takes in any case."""
        self.settle()
        room = self._disk.room
        kept = [key for key in room if is_of_chunks(key) and not key.startswith("coord/")]
        rows = sum(map(room.taken, kept)) + sum(size for key, size in room.folders() if is_of_chunks(key))
        chunk = max(each.largest_file(_LONGEST) for each in (self._steps, self._events))
        self._empty = self._disk.total - rows
        self._fixed = self.need(self._steps.committed, self._events.committed) - rows + chunk

    @property
    def spent(self) -> float:
        """The share of the budget that rows have used, of what it leaves for rows; 0 without a budget.

        No row is taken whose chunks might not fit at worst. Where one chunk of each array, at worst, is a small part of
        the budget, what counts is what is on disk; else it is how many rows there are of those that fit.
        """
        if self.budget is None:
            return 0.0
        room, open_chunks = self.budget - self._fixed, self._largest_chunks
        if 2 * open_chunks > room:
            return self._steps.count / max(self._most_rows(), 1)
        return max(0, self._disk.total - self._empty) / (room - open_chunks)

    def _most_rows(self) -> int:
        """How many rows of steps fit at worst, after those that are on disk as they are."""
        if self._most[0] is not self.settled:
            assert self.budget is not None
            settled, fits, events = self.settled, self._steps.committed, self._events.count
            further = self._steps.block_rows
            while self.need(fits + further, events) <= self.budget:
                fits += further
                further *= 2
            while further := further // 2:
                if self.need(fits + further, events) <= self.budget:
                    fits += further
            self._most = settled, fits
        return self._most[1]

    def holds(self, steps: int, events: int) -> bool:
        """Whether so many rows hold within the budget. Of a whole block of further ones, of both kinds, it is found out
        at once: what is committed meanwhile takes no more than was expected of it.
        """
        if self.budget is None:
            return True
        sure_steps, sure_events, attributes = self._sure
        if steps <= sure_steps and events <= sure_events and self._attributes.size == attributes:
            return True
        size = self._attributes.size
        if self.need(steps, events) > self.budget:
            return False
        further = steps + self._steps.block_rows, events + self._events.block_rows
        self._sure = (*(further if self.need(*further) <= self.budget else (steps, events)), size)
        return True

    def need(self, steps: int, events: int) -> int:
        """Most bytes that the folder can hold at any moment until so many rows are committed and the run is closed."""
        settled, steps_done, events_done = self.settled
        block = self._disk.room.block
        need = settled + self._steps.worst_case(steps_done, steps, block)
        need += self._events.worst_case(events_done, events, block)
        # Of the root's file, once the metadata of all arrays are in it.
        root = rounded(self._attributes.size + self._metadata_size + _NUMBERS + SLACK, block)
        chunk = max(self._steps.largest_file(steps), self._events.largest_file(events))
        # One file stands beside the old one, under another name in its folder.
        return need + self._metadata_taken + root + max(root, rounded(chunk, block)) + 2 * block + self._free - SLACK

    def settle(self) -> None:
        """Count the bytes that no later row will replace; the writer's thread calls this."""
        replaced = ["zarr.json", *self._steps.open_keys(), *self._events.open_keys()]
        settled = self._disk.total - sum(map(self._disk.taken, replaced))
        self.settled = settled, self._steps.committed, self._events.committed

    def measure_metadata(self) -> None:
        """The arrays are of another shape now."""
        sizes = [len(data) + 16 for s in (self._steps, self._events) for data in s.metadata(0).values()]
        self._metadata_size = sum(sizes)
        self._metadata_taken = sum(rounded(size, self._disk.room.block) for size in sizes)
        self._largest_chunks = self._steps.largest_chunks(self._disk.room.block)
