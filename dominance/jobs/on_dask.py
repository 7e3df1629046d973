"""Jobs on the workers of a dask scheduler: one that is there, or one of this machine that is made for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dominance.errors import BadOption, Unreachable
from dominance.jobs.engine import Running, carried
from dominance.jobs.job import Answer
from dominance.jobs.versions import versions
from dominance.jobs.work import halt, look, unfit, work_for_dask

_REACH = 5
"""Seconds in which a scheduler must answer."""
_LEAST = 64
"""Jobs that a scheduler is given at least: one that starts workers on demand must see that there is something to do."""
_QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}
"""Otherwise a cluster that waits takes a tenth of a core: its profiler looks at threads a hundred times a second."""
_NO_HOST = ("inproc", "ucx")
"""Schemes of addresses of which dask tells no host and port."""
_COUNT = 5.0
"""Seconds for which a count of the workers holds."""


class Dask:
    """Workers of a scheduler. A job has a key made of what it is: a second caller attaches to a job that runs.

    Args:
        where: address of the scheduler, or a ``distributed.Client``, which stays open; "": workers of this machine.
        jobs: so many at the same time; None: as many as the workers have threads.

    Raises:
        BadOption: dask is not installed, or the address cannot be read.
        Unreachable: no scheduler answers there.
    """

    def __init__(self, where: Any, jobs: int | None) -> None:
        try:
            import distributed
        except ImportError:
            raise BadOption("--on dask needs dask", fix="pip install 'dominance[dask]'") from None
        self._distributed: Any = distributed
        self._jobs = jobs
        self._cluster: Any = None
        self._ours = isinstance(where, str)
        if self._ours:
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in one line
        if where == "":
            self._cluster = self._local(jobs or os.cpu_count() or 1)
        self._client = self._connected(where) if self._ours else where
        self.can_detach = self._cluster is None
        self._open: dict[int, Running] = {}
        self._counted = (float("-inf"), 0)

    def _local(self, workers: int) -> Any:
        """Workers of this machine, which leave its cores to the trainings: these are no tasks to look into."""
        import dask

        with dask.config.set(_QUIET):
            return self._distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
                preload=[work_for_dask.__module__],  # its dask_setup
            )

    def _connected(self, where: str) -> Any:
        try:
            # A client that cannot read its address says so in a traceback, too, ten seconds later.
            if self._cluster is None and where.partition("://")[0] not in _NO_HOST:
                self._distributed.comm.get_address_host_port(where)
            return self._distributed.Client(self._cluster or where, timeout=_REACH, set_as_default=False)
        except (OSError, TimeoutError) as error:  # nobody there, or somebody who is no scheduler
            fix = "check the address, and that the scheduler runs"
            raise Unreachable(f"no dask scheduler answers at {where}", fix=fix) from error
        except ValueError as error:
            raise BadOption(f"{where!r} is no address: {error}", fix="write it like dask=tcp://HOST:8786") from None

    @property
    def workers(self) -> int:
        """Threads of the workers, or ``jobs`` of them."""
        counted, threads = self._counted
        if time.monotonic() > counted + _COUNT:
            with self._may_be_gone():
                threads = sum(self._client.nthreads().values())
            self._counted = (time.monotonic(), threads)
        return min(self._jobs or threads, max(1, threads))

    @property
    def at_once(self) -> int:
        """Enough that no worker waits for the next one."""
        return self._jobs or max(_LEAST, 4 * self.workers)

    def check(self, folder: Path, versions: Mapping[str, str] | None) -> None:
        """Of the workers that there are now; one that joins later compares versions itself, with each job.

        Raises:
            BadOption: one has no dominance, other versions, or does not see the folder.
        """
        token, text = folder / f".token-{uuid.uuid4().hex}", uuid.uuid4().hex
        token.write_text(text, encoding="utf-8")
        try:
            answers = self._client.run(look, str(token), on_error="return")
        finally:
            token.unlink()
        for worker, said in answers.items():
            if not isinstance(said, str):
                raise BadOption(f"worker {worker} cannot run jobs of dominance: {said}", fix="install it there")
            if why := unfit(said, text, None if versions is None else dict(versions)):
                seen = "the output folder" in why
                fix = "give an -o that all workers share" if seen else "make them alike, or give --mixed"
                raise BadOption(f"worker {worker} on {why}", fix=fix)

    def start(self, some: Sequence[Running]) -> None:
        """As tasks of one function of ours, which gets and returns text."""
        for each in some:
            told = replace(each.told, environment=carried())
            key = f"dominance-{told.digest(told.versions or versions())}-{each.attempt}"
            each.handle = self._client.submit(work_for_dask, told.to_json(), key=key, retries=0)
            self._open[id(each)] = each
            each.handle.add_done_callback(partial(self._ended, each))

    def interrupt(self, some: Sequence[Running]) -> None:
        """Take back what has not begun, and stop what has."""
        futures = [each.handle for each in some if each.handle is not None]
        with self._may_be_gone():
            self._client.cancel(futures)
            self._client.run(halt, [each.told.folder for each in some], on_error="ignore")

    def lost(self) -> str:
        """Whether the scheduler is gone; for half a minute the client tries to reach it again."""
        if self._client.status in ("running", "connecting", "newly-created"):
            return ""
        return "the dask scheduler is gone"

    def close(self, *, detach: bool = False) -> None:
        """Leave; a cluster that was made for the jobs goes."""
        if detach and not self.lost():
            keep: Any = self._distributed.fire_and_forget
            keep([each.handle for each in self._open.values()])
        if self._ours:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    @contextlib.contextmanager
    def _may_be_gone(self) -> Iterator[None]:
        """A call that fails because the scheduler has gone meanwhile; ``lost`` will say so."""
        try:
            yield
        except (OSError, RuntimeError, asyncio.CancelledError):  # of a closed connection, as distributed has them
            if self._client.status == "running":
                raise

    def _ended(self, each: Running, future: Any) -> None:
        self._open.pop(id(each), None)
        if future.status == "finished":
            each.ended(Answer.from_json(future.result()))
            return
        if future.status == "error":
            error = future.exception()
            if isinstance(error, self._distributed.scheduler.KilledWorker):
                each.ended(Answer("failed", f"its worker was lost, {self._attempts()} times"))
            else:
                each.ended(Answer("failed", f"{type(error).__name__}: {error}"))
            return
        each.ended(Answer("killed", "the scheduler has let go of it"))

    def _attempts(self) -> int:
        import dask

        return int(dask.config.get("distributed.scheduler.allowed-failures")) + 1
