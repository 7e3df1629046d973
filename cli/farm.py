"""What commands that train many times have in common: where the trainings run, and what is seen meanwhile."""

from __future__ import annotations

import math
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance_cli import stderr

if TYPE_CHECKING:
    from dominance.jobs.engine import Engine, Running
    from dominance.jobs.job import Job
    from dominance.jobs.run import JobResults, Tell

_SHOWN = 3
"""Names of running jobs that the progress line has room for."""


@dataclass(frozen=True)
class JobFlags:
    """Where trainings run, and how many at once."""

    on: Annotated[
        str,
        typer.Option(
            "--on", metavar="WHERE", help="local, dask, dask=tcp://HOST:PORT, or slurm[:partition=P,gpus=1,time=60]."
        ),
    ] = "local"
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", metavar="N", help="Trainings at the same time. [default: all cores, or workers]"),
    ] = None
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Let versions of torch, dominance, ... differ among workers and runs.")
    ] = False
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Ctrl-C leaves them running, on dask and SLURM; the same command attaches."),
    ] = False

    @property
    def here(self) -> bool:
        """Whether all of them run on this machine."""
        return self.on in ("local", "dask")

    def again(self) -> str:
        """What to type to get the same place again."""
        words = ["--on", self.on] if self.on != "local" else []
        words += ["--mixed"] * self.mixed + ["--detach"] * self.detach
        return f" {shlex.join(words)}" if words else ""


class Farm:
    """Runs jobs of one command. A context manager; SIGTERM ends the trainings as Ctrl-C does.

    Attributes:
        code: the exit code once it was interrupted.
    """

    def __init__(self, flags: JobFlags, *, quiet: bool, minutes: float | None = None) -> None:
        self.flags, self.quiet, self.minutes = flags, quiet, minutes
        self._came: list[int] = []

    def __enter__(self) -> Farm:
        from dominance.jobs.engines import engine

        self.engine: Engine = engine(self.flags.on, self.flags.jobs)
        self._before = signal.signal(signal.SIGTERM, self._interrupt)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        signal.signal(signal.SIGTERM, self._before)
        self.engine.close(detach=self.flags.detach and kind is not None)

    @property
    def code(self) -> int:
        return 128 + (self._came or [signal.SIGINT])[0]

    def run(self, jobs: Sequence[Job], folder: Path) -> JobResults:
        """As ``run_jobs``."""
        from dominance.jobs.run import run_jobs

        with watching(len(jobs), self.engine.workers, quiet=self.quiet) as tell:
            told = until(self.minutes, tell)
            flags = self.flags
            return run_jobs(jobs, folder, engine=self.engine, tell=told, mixed=flags.mixed, detach=flags.detach)

    def stopped(self, folder: Path, why: str = "interrupted") -> None:
        """Say what has become of the trainings."""
        if self.flags.detach:
            stderr.note(f"{why}; the trainings go on, and the same command attaches to them")
        else:
            stderr.note(f"{why}; {folder} holds what was trained so far, and the same command goes on")

    def _interrupt(self, number: int, frame: object) -> None:
        self._came.append(number)
        raise KeyboardInterrupt


class TimeIsUp(KeyboardInterrupt):
    """So many minutes are over."""


def until(minutes: float | None, tell: Tell) -> Tell:
    """``tell``, which raises TimeIsUp once it is called after so many minutes; None: never."""
    end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def told(outcome: JobResults, running: Sequence[Running]) -> None:
        tell(outcome, running)
        if running and time.monotonic() >= end:
            raise TimeIsUp

    return told


@contextmanager
def watching(total: int, workers: int, *, quiet: bool) -> Iterator[Tell]:
    """A bar on a terminal; nothing in a pipe."""
    if quiet or not total or sys.__stderr__ is None or not sys.__stderr__.isatty():
        yield lambda outcome, running: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns: list[Any] = [TextColumn("training"), BarColumn(bar_width=20), TimeElapsedColumn()]
    columns.append(TextColumn("{task.fields[now]}"))
    began = time.monotonic()
    with Progress(*columns, console=Console(file=sys.__stderr__), transient=True, refresh_per_second=4) as bar:
        shown = bar.add_task("training", total=total, now="")

        def tell(outcome: JobResults, running: Sequence[Running]) -> None:
            done = len(outcome.reused) + len(outcome.seconds)
            names = [each.job.name for each in running]
            bar.update(
                shown, completed=done, now=said(outcome, names, total, workers, seconds=time.monotonic() - began)
            )

        yield tell


def said(outcome: JobResults, running: Sequence[str], total: int, workers: int, *, seconds: float) -> str:
    """How far it is.

    Args:
        running: names of what an engine has been given; of them as many run as there are ``workers``.
        seconds: since the beginning.

    >>> from dominance.jobs.run import JobResults
    >>> outcome = JobResults(reused=["a"], failed={"c": "nan"}, seconds={"b": 30.0, "c": 30.0})
    >>> said(outcome, ["d", "e"], 7, 2, seconds=60)
    '2 done, 2 running, 1 failed, 2 left, 2 min to go: d, e'
    """
    ended = len(outcome.seconds)
    done = len(outcome.reused) + ended - len(outcome.failed)
    at_once = min(len(running), workers)
    left = total - len(outcome.reused) - ended
    parts = [f"{done} done", f"{at_once} running", f"{len(outcome.failed)} failed", f"{left - at_once} left"]
    if ended and left:
        parts.append(f"{duration(seconds / ended * left)} to go")
    names = ", ".join(running[:_SHOWN]) + (", ..." if at_once > _SHOWN else "")
    return ", ".join(parts) + (f": {names}" if names else "")


def duration(seconds: float) -> str:
    """
    >>> duration(40.0), duration(1000.0), duration(7200.0)
    ('40 s', '17 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
