"""Runs what figures need, several processes at once, each job once: what is done already stays done."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dominance.figures.papers.jobs import Job

_LOOK = 0.05
"""Seconds between two looks at the processes."""


@dataclass
class Outcome:
    """What became of the jobs, by name.

    Attributes:
        failed: the last line that the process said, or how it ended.
        seconds: of those that ran now.
    """

    reused: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Running:
    """One process and its log."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.log = folder.with_name(f"{folder.name}.log")
        self.began = time.monotonic()
        self._file = self.log.open("a", encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        # A group of its own: Ctrl-C reaches us alone, and we tell it.
        self.process = subprocess.Popen(
            _command(job, folder),
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            env=environment,
            start_new_session=True,
        )

    def ended(self) -> str | None:
        """None while it runs; "" when it went well; else what it said last."""
        code = self.process.poll()
        if code is None:
            return None
        self._file.close()
        if code == 0:
            _mark(self.folder).write_text(shlex.join(_command(self.job, self.folder)) + "\n", encoding="utf-8")
            return ""
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return said[-1] if said else f"ended with {code}"

    def interrupt(self) -> None:
        """Tell it to keep a checkpoint and to end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)

    def wait(self) -> None:
        """Until it has ended."""
        self.process.wait()
        self._file.close()


def run_jobs(
    jobs: Sequence[Job], folder: Path, *, workers: int, tell: Callable[[Outcome, Sequence[Running]], None]
) -> Outcome:
    """Run the jobs that are not done, ``workers`` at a time, in the order given.

    A job's outcome is ``folder/<name>``; beside it are ``<name>.log`` and, when it is done, ``<name>.done``.

    Args:
        tell: is called as time goes by.

    Raises:
        KeyboardInterrupt: after the processes have been told and have ended; the same call goes on with what they kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    waiting = []
    for job in jobs:
        if _mark(folder / job.name).exists() and (folder / job.name).exists():
            outcome.reused.append(job.name)
        else:
            waiting.append(job)
    running: list[Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(Running(waiting[0], folder / waiting[0].name))
                del waiting[0]
            tell(outcome, running)
            time.sleep(_LOOK)
            for each in list(running):
                said = each.ended()
                if said is None:
                    continue
                running.remove(each)
                outcome.seconds[each.job.name] = time.monotonic() - each.began
                if said:
                    outcome.failed[each.job.name] = said
    finally:
        for each in running:
            each.interrupt()
        for each in running:
            each.wait()
    tell(outcome, running)
    return outcome


def _command(job: Job, folder: Path) -> list[str]:
    begin = [sys.executable, "-m", job.module]
    if job.can_resume and (folder / "checkpoint.pt").exists():
        return [*begin, "train", "--resume", str(folder)]
    return [*begin, *job.arguments(), "--force", "-o", str(folder)]


def _mark(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.done")
