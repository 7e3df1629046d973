"""RunWriter: rows become a run directory, in the background, and a kill at any moment leaves a run that opens.

The order is what makes it safe: the chunks of a block first, the shapes of the arrays second, and last the root
attributes with ``committed_steps``, from which readers take how far to trust the arrays. Each file is replaced whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import TracebackType
from typing import Any

from dominance.errors import BadOption, RecordingFailed
from dominance.schema import DATA_NAME, METRIC_ARRAYS, Layout
from dominance.store.allowance import SLACK, Allowance
from dominance.store.attributes import Attributes, first_attributes
from dominance.store.directory import check_same, claim, clear, coordinate_files, group_files, read_grids
from dominance.store.disk import Disk
from dominance.store.files import LocalFiles
from dominance.store.grid import EVENT_CHUNK, block_rows, cut
from dominance.store.lock import RunLock
from dominance.store.room import Room
from dominance.store.seal import intact, resealed
from dominance.store.stream import Head, Stream

_DIGITS = 64  # bytes by which a larger budget makes the metadata longer
_SHORTEST_TICK = 0.05
_LOOK = 1.0  # seconds after which the thread looks whether there are rows to be written
_MANY = 64  # rows that are then written, however short they have waited


class RunWriter:
    """Writes one run. Every method belongs to the thread that made the writer; a daemon thread compresses and writes.

    In a forked child (a DataLoader worker) the thread does not exist: there every method does nothing.

    Args:
        path: the run directory.
        layout: sizes, names, coordinates, and further attributes.
        budget: bytes of the disk that the run never exceeds, as ``du`` counts them: each file and folder takes whole
            blocks of the file system; None for no limit.
        exact: keep all mantissa bits of the per-coordinate arrays; otherwise they are rounded to 10 (error 4.9e-4).
        overwrite: replace the run that is there. Nothing but its ``data.zarr`` is deleted.
        resume: go on after the last committed step of the run that is there; start one where there is none.
        keep: with ``resume``, how many rows of steps and of events to keep; those behind them are dropped. None: all.
        reserve: bytes of the budget that rows leave free for what is put into the run when it is over.
        lock: of this run directory, where the caller holds it already, and goes on holding it; None: the writer's own.
        flush_seconds: a row is on disk at most this long after it was appended, plus the time to write it; where
            there are many, after a second.

    Attributes:
        refused: rows that the budget kept out.

    Raises:
        RunExists: there is something at ``path``, and neither flag was given, or it is no run; or another writes it.
        BadOption: the run that is there has other coordinates or names (resume), or the budget holds no step.
        CorruptRun: the run that is there cannot be read (resume).
        OSError: the directory cannot be made.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        *,
        budget: int | None = None,
        exact: bool = False,
        overwrite: bool = False,
        resume: bool = False,
        keep: tuple[int, int] | None = None,
        reserve: int = 0,
        lock: RunLock | None = None,
        flush_seconds: float = 10.0,
    ) -> None:
        self.path = Path(path)
        self.budget = budget
        self.refused = 0
        self._reserve = reserve
        self._pid = os.getpid()
        self._closed = False
        self._error: BaseException | None = None
        self._told = False
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._last_root = b""
        self._tick = max(flush_seconds, _SHORTEST_TICK)
        self._committed_at = time.monotonic()
        self.busy = 0.0
        """Seconds that the thread has worked."""
        self._thread = Thread(target=self._run, name="dominance-writer", daemon=True)
        self._lock = RunLock(self.path) if lock is None else None
        try:
            self._open(layout, exact=exact, overwrite=overwrite, resume=resume, keep=keep)
        except BaseException:
            self._unlock()
            raise

    def _open(
        self, layout: Layout, *, exact: bool, overwrite: bool, resume: bool, keep: tuple[int, int] | None
    ) -> None:
        found = claim(self.path, overwrite=overwrite, resume=resume)
        if found is not None:
            check_same(found, self.path, layout, exact)
        if found is None:
            specs = layout.arrays(exact=exact)
            block = block_rows(specs, self.budget)
            steps, events = cut(specs, block, self.budget), cut(METRIC_ARRAYS, EVENT_CHUNK)
        else:
            specs = replace(layout, tasks=found["tasks"]).arrays(exact=exact)
            block, there = block_rows(specs, self.budget), LocalFiles(self.path)
            steps, events = read_grids(there, specs), read_grids(there, METRIC_ARRAYS)
        alive = self._thread.is_alive
        self._steps = Stream(steps, block, on_full=lambda head: self._hand_over(self._steps, head), alive=alive)
        self._events = Stream(
            events, EVENT_CHUNK, on_full=lambda head: self._hand_over(self._events, head), alive=alive
        )
        self._attributes = Attributes(first_attributes(layout, exact, self.budget) if found is None else found)
        self._disk = Disk(self.path / DATA_NAME, self.budget)
        self._allowance = Allowance(self.budget, self._steps, self._events, self._attributes, self._disk, self._reserve)
        if found is None:
            self._create(layout)
        else:
            self._continue(layout, keep)
        self._allowance.begin()
        self._thread.start()
        if found is not None:
            self.grow_tasks(layout.tasks[len(found["tasks"]) :])

    def _create(self, layout: Layout) -> None:
        arrays = {**self._steps.metadata(0), **self._events.metadata(0)}
        files = coordinate_files(layout)
        files |= group_files([*files, *arrays])
        empty = Room(self._disk.room.block)
        for key, data in files.items():
            empty.put(key, len(data))
        for key in arrays:  # their folders
            empty.put(key, 0)
        self._allowance.settled = empty.total, 0, 0
        self._allowance.measure_metadata()
        if self.budget is not None and (need := self._allowance.need(1, 0)) > self.budget:
            raise BadOption(
                f"a budget of {self.budget} bytes holds no step of this run, whose first may take {need}",
                fix=f"give at least {need + _DIGITS} or keep fewer coordinates",
            )
        clear(self.path)
        for key, data in (files | arrays).items():
            self._disk.put(key, data)
        self._put_root()

    def _continue(self, layout: Layout, keep: tuple[int, int] | None) -> None:
        old = self._attributes
        steps, events = old["committed_steps"], old["committed_events"]
        self.refused = old["refused_steps"]
        self._disk.scan()
        for key in self._disk.files():  # an older dominance wrote no checksums; the root gets its own below
            if key.endswith("/zarr.json") and intact(document := self._disk.get(key)) is None:
                self._disk.put(key, resealed(document))
        if keep is not None:
            steps, events = min(steps, keep[0]), min(events, keep[1])
            # First no reader expects these rows any more, then they go.
            old.update({"committed_steps": steps, "committed_events": events})
            self._put_root()
        self._steps.load(self._disk, steps, old["task_since"])
        self._events.load(self._disk, events, ())
        self._allowance.measure_metadata()
        old.update({**layout.attrs, "status": "recording", "budget": self.budget})
        self._put_root()

    # The caller's side

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, in the order of the arrays' task dim."""
        return list(self._attributes["tasks"])

    @property
    def bytes_written(self) -> int:
        """Bytes of the disk that ``data.zarr`` takes, each file and folder whole blocks, and the folder it lies in."""
        return self._disk.total

    @property
    def spent(self) -> float:
        """The share of the budget that rows have used, of what it leaves for rows; 0 without a budget."""
        return self._allowance.spent

    @property
    def failed(self) -> bool:
        """Whether something stopped the writer's thread, and a call has raised it."""
        return self._told

    @property
    def waited_seconds(self) -> float:
        """Seconds that ``append`` waited because the disk did not keep up."""
        return self._steps.waited + self._events.waited

    @property
    def committed_steps(self) -> int:
        """Steps that a reader sees."""
        return self._allowance.settled[1]

    def append(self, row: Mapping[str, Any]) -> bool:
        """Take one row of the step stream, keyed by ArraySpec.path; what is left out is filled (NaN, -1).

        The arrays are copied. False when the row might not fit into the budget, and was refused and counted.

        Raises:
            ValueError: an array is unknown, or has another shape than the run; the row was not taken.
            Exception: whatever stopped the writer's thread, as itself.
        """
        if not self._ready():
            return False
        if not self._allowance.holds(self._steps.count + 1, self._events.count):
            self.refused += 1
            return False
        self._steps.append(row)
        return True

    def append_event(self, event: Mapping[str, Any]) -> bool:
        """Take one row of metric/*: step, epoch, task (str or None), split, name, value. False as in ``append``."""
        if not self._ready():
            return False
        codes = {part: self._attributes.code(part, event.get(part)) for part in ("task", "split", "name")}
        if not self._allowance.holds(self._steps.count, self._events.count + 1):
            return False
        numbers = {part: event[part] for part in ("step", "epoch", "value") if event.get(part) is not None}
        self._events.append({f"metric/{part}": value for part, value in (numbers | codes).items()})
        return True

    def grow_tasks(self, names: Sequence[str]) -> None:
        """Add tasks found later: arrays with a task dim widen, and rows before this one hold NaN for them.

        Flushes first, so what was appended is on disk when this returns.

        Raises:
            ValueError: a task of this name is there already.
            Exception: whatever stopped the writer's thread, as itself.
        """
        if not self._ready() or not names:
            return
        tasks = [*self._attributes["tasks"], *names]
        if len(set(tasks)) != len(tasks):
            raise ValueError(f"a task is named twice in {', '.join(tasks)}")
        self._call(self._commit)
        self._call(partial(self._grow, tasks))

    def set_attrs(self, **attrs: Any) -> None:
        """Set JSON root attributes; they are on disk with the next flush.

        Raises:
            ValueError: an attribute that the writer keeps itself.
            TypeError: a value that is no JSON.
            BadOption: the budget does not hold it.
        """
        if not self._ready():
            return
        grows = self._attributes.growth(attrs)
        if self.budget is not None and grows > 0:
            # Twice, because the new root stands beside the old one while it is written. Rows left SLACK free for this.
            need = self._allowance.need(self._steps.count, self._events.count) - SLACK + 2 * grows
            if need > self.budget:
                names = ", ".join(attrs)
                raise BadOption(
                    f"{self.path}: attribute {names} does not fit into the budget of {self.budget} bytes",
                    fix=f"give at least {need}",
                )
        self._attributes.update(attrs)

    def flush(self) -> None:
        """Return when everything appended is on disk. Raises whatever stopped the writer's thread, as itself."""
        if self._ready():
            self._call(self._commit)

    def close(self, *, complete: bool = True) -> None:
        """Flush, consolidate the metadata, set the status "complete" or "interrupted", end the thread. Twice is once.

        Raises:
            Exception: whatever stopped the writer's thread, as itself, unless another call raised it before; what had
                been committed until then is readable.
        """
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        try:
            self._end(complete=complete)
        finally:
            self._unlock()

    def _end(self, *, complete: bool) -> None:
        self._attributes.update({"status": "complete" if complete else "interrupted"})
        try:
            self._send_and_wait(partial(self._commit, consolidate=True))
        finally:
            self._jobs.put(None)
            self._thread.join()
        if self._error is not None:
            # The rows are lost to the error below; that the run ended early may still be told, where the disk lets us.
            self._attributes.update({"status": "interrupted"})
            with suppress(OSError, RecordingFailed):
                self._disk.put("zarr.json", self._attributes.document())
            if not self._told:
                self._told = True
                raise self._error

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)

    def _ready(self) -> bool:
        if os.getpid() != self._pid:
            return False
        if self._error is not None:
            self._told = True
            raise self._error
        if self._closed:
            raise RecordingFailed(f"{self.path}: the run is closed", fix="open it again with resume=True")
        return True

    def _hand_over(self, stream: Stream, head: Head) -> None:
        # Both as they are now: rows and events that were appended together become readable together.
        heads = [head if each is stream else each.head for each in (self._steps, self._events)]
        self._jobs.put(partial(self._commit_full, stream, head, heads))

    def _call(self, job: Callable[[], None]) -> None:
        self._send_and_wait(job)
        self._ready()

    def _send_and_wait(self, job: Callable[[], None]) -> None:
        done = Event()
        self._jobs.put(job)
        self._jobs.put(done.set)
        while not done.wait(1.0):
            if not self._thread.is_alive():
                raise RecordingFailed(f"{self.path}: the thread that writes it is gone", fix="record it again")

    # The thread's side

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=min(self._tick, _LOOK))
            except Empty:
                job = self._commit_if_due
            if job is None:
                return
            try:
                job()
                self.busy = time.thread_time()
            except BaseException as error:  # noqa: BLE001 - kept for the caller, who raises it as itself
                self._error = self._error or error

    def _commit_if_due(self) -> None:
        """Steps that are fast do not wait for their block to be full, nor for as long as a slow one may."""
        head = self._steps.head
        many = head is not None and head.start + head.count - self._steps.committed >= _MANY
        if many or time.monotonic() - self._committed_at >= self._tick:
            self._commit()
            self._committed_at = time.monotonic()

    def _heads(self) -> list[Head | None]:
        """What was appended until one moment; the caller may append meanwhile."""
        while True:
            steps, events = self._steps.head, self._events.head
            if steps is self._steps.head:
                return [steps, events]

    def _commit(self, heads: Sequence[Head | None] | None = None, *, consolidate: bool = False) -> None:
        if self._error is not None:
            return
        streams = self._steps, self._events
        due = [(stream, head) for stream, head in zip(streams, heads or self._heads(), strict=True) if head is not None]
        if any(stream.waits(head) for stream, head in due):
            return  # a full block was handed over just now, and its job writes both
        for stream, head in due:
            stream.write(self._disk, head)
        self._put_root(consolidate=consolidate)
        self._allowance.settle()

    def _commit_full(self, stream: Stream, head: Head, heads: Sequence[Head | None]) -> None:
        try:
            self._commit(heads)
        finally:
            stream.give_back(head)

    def _grow(self, tasks: list[str]) -> None:
        if self._error is not None:
            return
        since = [*self._attributes["task_since"], *[self._steps.committed] * (len(tasks) - len(self.tasks))]
        self._steps.grow_tasks(len(tasks))
        for key, data in self._steps.metadata(self._steps.committed).items():
            self._disk.put(key, data)
        self._attributes.update({"tasks": tasks, "task_since": since})
        self._allowance.measure_metadata()
        self._put_root()
        self._allowance.settle()

    def _put_root(self, *, consolidate: bool = False) -> None:
        """The last file of every commit: what it announces is on disk."""
        self._attributes.update(
            {
                "committed_steps": self._steps.committed,
                "committed_events": self._events.committed,
                "refused_steps": self.refused,
            }
        )
        keys = [key for key in self._disk.files() if key.endswith("/zarr.json")] if consolidate else []
        keys.sort(key=lambda key: (key.count("/"), key))  # Zarr wants groups before what is in them
        document = self._attributes.document({key: self._disk.get(key) for key in keys})
        if document != self._last_root:
            self._disk.put("zarr.json", document)
            self._last_root = document
