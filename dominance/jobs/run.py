"""Runs jobs, each once: what is done already stays done, what somebody else does is waited for."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from dominance.errors import BadOption, Unreachable
from dominance.jobs.engine import Engine, Running
from dominance.jobs.job import Answer, Job, is_done, request, versions_of
from dominance.jobs.versions import differences, versions
from dominance.schema import DATA_NAME

RETRIES = 2
"""So often a job that was killed is started again."""
_TICK = 0.5
"""Seconds between two calls of ``tell`` where nothing ends."""
_HELD = 1.0
"""Seconds until a job that somebody else is at is looked at again."""
_LEAVE = 120.0
"""Seconds that jobs elsewhere are given to end, once they have been told."""


@dataclass
class JobResults:
    """What became of the jobs, by name.

    Attributes:
        reused: done before, or by somebody else meanwhile.
        failed: the last line that the process said, or how it ended.
        seconds: of those that ran now, however they ended, over all attempts.
        killed: how often each was killed.
    """

    reused: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)

    def add(self, more: JobResults) -> None:
        """Those of other jobs."""
        self.reused += more.reused
        self.failed |= more.failed
        self.seconds |= more.seconds
        self.killed |= more.killed


Tell: TypeAlias = Callable[[JobResults, Sequence[Running]], None]


@dataclass
class _Waiting:
    job: Job
    attempt: int = 0
    not_before: float = 0.0


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    *,
    engine: Engine,
    tell: Tell = lambda outcome, running: None,
    mixed: bool = False,
    detach: bool = False,
) -> JobResults:
    """Run the jobs that are not done, in the order given.

    A job's outcome is ``folder/<name>``; beside it are ``<name>.log`` and, when it is done, ``<name>.done``. A job that
    is killed, or whose worker is lost, is started again, from its checkpoint where it can resume, at most twice.

    Args:
        engine: who runs them; it is not closed.
        tell: is called as time goes by, with what ended so far and what the engine has been given.
        mixed: take what other versions have made, and workers that have others.
        detach: where this call ends early, what has been given to the engine goes on: all of the jobs.

    Raises:
        BadOption: ``folder`` cannot be written, or is a run; the workers do not see it, or have other versions; so has
            what is done.
        Unreachable: the engine is gone; what is done stays done.
        KeyboardInterrupt: after the jobs have been told and have ended; the same call goes on with what they kept.
    """
    if detach and not engine.can_detach:
        raise BadOption("processes of this machine end with the command", fix="leave --detach out, or give --on")
    writable(folder)
    outcome, waiting = _planned(jobs, folder, mixed=mixed)
    if waiting:
        engine.check(folder.absolute(), None if mixed else versions())
        _Loop(folder, engine, tell, outcome, waiting, mixed=mixed, detach=detach).run()
    tell(outcome, [])
    return outcome


def writable(folder: Path) -> None:
    """
    Raises:
        BadOption: ``folder`` cannot be made, or nothing can be written into it; or it is itself a run.
    """
    if (folder / DATA_NAME).exists():
        raise BadOption(f"{folder}: is a run, and no folder for several", fix="choose another directory with -o")
    token = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        token.write_text("1\n", encoding="utf-8")
        token.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            token.unlink()
        fix = "choose another directory with -o"
        raise BadOption(f"{folder}: cannot be made or written ({error.strerror})", fix=fix) from None


def _planned(jobs: Sequence[Job], folder: Path, *, mixed: bool) -> tuple[JobResults, deque[_Waiting]]:
    outcome, waiting = JobResults(), deque[_Waiting]()
    others: list[str] = []
    for job in jobs:
        where = folder / job.name
        if not is_done(where):
            waiting.append(_Waiting(job))
            continue
        outcome.reused.append(job.name)
        made = versions_of(where)
        if made and not mixed and (other := differences(made, versions())):
            others.append(other)
    if others:
        what = f"{len(others)} of the runs in {folder} were made with {others[0]}"
        raise BadOption(what, fix="choose another directory with -o, or take them as they are with --mixed")
    return outcome, waiting


class _Loop:
    def __init__(
        self,
        folder: Path,
        engine: Engine,
        tell: Tell,
        outcome: JobResults,
        waiting: deque[_Waiting],
        *,
        mixed: bool,
        detach: bool,
    ) -> None:
        self.folder, self.engine, self.tell, self.outcome, self.waiting = folder, engine, tell, outcome, waiting
        self.versions, self.detach = None if mixed else versions(), detach
        self.running: dict[int, Running] = {}
        self.answers: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
        self.started, self.spent = 0, dict[str, float]()

    def run(self) -> None:
        try:
            while self.waiting or self.running:
                self.fill()
                self.tell(self.outcome, list(self.running.values()))
                for number, answer in self.come(_TICK):
                    self.ended(self.running.pop(number), answer)
                if why := self.engine.lost():
                    raise Unreachable(why, fix="what is done stays done, and the same command goes on")
        except BaseException:
            if not self.detach:
                self.stop()
            raise

    def fill(self) -> None:
        """Give the engine what it has room for."""
        some: list[Running] = []
        room = len(self.waiting) if self.detach else self.engine.at_once - len(self.running)
        now = time.monotonic()
        for _ in range(len(self.waiting)):
            if len(some) >= room:
                break
            next_ = self.waiting.popleft()
            if next_.not_before > now:
                self.waiting.append(next_)
            elif is_done(self.folder / next_.job.name):
                self.outcome.reused.append(next_.job.name)
            else:
                some.append(self.made(next_))
        if some:
            self.engine.start(some)

    def made(self, next_: _Waiting) -> Running:
        number, self.started = self.started, self.started + 1
        told = request(next_.job, self.folder, versions=self.versions)
        each = Running(next_.job, told, next_.attempt, lambda answer: self.answers.put((number, answer)))
        self.running[number] = each
        return each

    def come(self, seconds: float) -> Iterator[tuple[int, Answer]]:
        """What has ended, if need be after a while."""
        with contextlib.suppress(queue.Empty):
            if self.running:
                yield self.answers.get(timeout=seconds)
            elif self.waiting:
                time.sleep(min(seconds, max(0.0, self.waiting[0].not_before - time.monotonic())))
            while True:
                yield self.answers.get_nowait()

    def ended(self, each: Running, answer: Answer) -> None:
        name, outcome = each.job.name, self.outcome
        if answer.kind == "other":
            raise BadOption(answer.said, fix="make the workers alike, or give --mixed")
        if answer.kind == "refused":
            raise BadOption(answer.said, fix="mend that there; the same command goes on")
        if answer.kind == "held":
            self.waiting.append(_Waiting(each.job, each.attempt + 1, time.monotonic() + _HELD))
            return
        if answer.kind == "there":
            outcome.reused.append(name)
            return
        self.spent[name] = self.spent.get(name, 0.0) + answer.seconds
        if answer.kind == "killed":
            outcome.killed[name] = outcome.killed.get(name, 0) + 1
            if outcome.killed[name] <= RETRIES:
                self.waiting.appendleft(_Waiting(each.job, each.attempt + 1))
                return
        outcome.seconds[name] = self.spent.pop(name)
        if answer.kind != "done":
            outcome.failed[name] = answer.said

    def stop(self) -> None:
        """Tell what runs, and wait until it has ended."""
        if not self.engine.lost():
            self.engine.interrupt(list(self.running.values()))
        end = time.monotonic() + _LEAVE
        while self.running and not self.engine.lost() and time.monotonic() < end:
            for number, _ in self.come(_TICK):
                self.running.pop(number)
