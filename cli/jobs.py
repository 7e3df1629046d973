"""Runs what figures need, several processes at once, each job once: what is done already stays done.

The processes are forked from one that has imported torch: a small training takes less time than that import.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dominance.papers.jobs import Job

_LOOK = 0.05
"""Seconds between two looks at the processes."""
_THREADS = "OMP_NUM_THREADS"
_IMPORTED = (
    "torch",
    "torch._dynamo",
    "zarr",
    "xarray",
    "pandas",
    "sklearn.datasets",
    "dominance.benchmarks.train.trainer",
)
"""What every training imports, torch itself torch._dynamo in the first step of its optimizers."""


@dataclass
class JobResults:
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
        self.command = self._command()
        self.process = self._start()

    def _command(self) -> list[str]:
        return _command(self.job, self.folder)

    def _start(self) -> Any:
        process = _context().Process(target=_work, args=(self.command, str(self.log), dict(os.environ)))
        process.start()
        return process

    def ended(self) -> str | None:
        """None while it runs; "" when it went well; else what it said last."""
        code = self.process.exitcode
        if code is None:
            return None
        if code == 0:
            _mark(self.folder).write_text(f"python -m {shlex.join(self.command)}\n", encoding="utf-8")
            return ""
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if self.log.exists() else []
        errors = [line for line in said if line.startswith("dominance: error: ")]
        return (errors or said)[-1] if said else f"ended with {code}"

    def interrupt(self) -> None:
        """Tell it to keep a checkpoint and to end."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.pid is not None and self.process.exitcode is None:
                os.kill(self.process.pid, signal.SIGINT)

    def wait(self) -> None:
        """Until it has ended."""
        self.process.join()


def run_jobs(
    jobs: Sequence[Any],
    folder: Path,
    *,
    workers: int,
    tell: Callable[[JobResults, Sequence[Running]], None],
    start: Callable[[Any, Path], Running] | None = None,
) -> JobResults:
    """Run the jobs that are not done, ``workers`` at a time, in the order given.

    A job's outcome is ``folder/<name>``; beside it are ``<name>.log`` and, when it is done, ``<name>.done``.

    Args:
        jobs: of the kind that ``start`` takes; a ``Job`` where that is not given.
        tell: is called as time goes by.
        start: starts the process of a job, given where its outcome is to lie; None: forked from one that has torch.

    Raises:
        KeyboardInterrupt: after the processes have been told and have ended; the same call goes on with what they kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outcome = JobResults()
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
                running.append((start or Running)(waiting[0], folder / waiting[0].name))
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


def _context() -> Any:
    """Of the processes: forked from one that has the imports, where the system can; else fresh ones."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    threads = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"  # read when torch is imported
    # Ctrl-C while it imports is ours to handle; what it forks lets the signal in again.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if threads is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = threads
    return context


def _work(command: Sequence[str], log: str, environment: Mapping[str, str]) -> None:
    """``python -m <command>`` in this process, what it says into the log."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the parent alone, which tells us
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.clear()
    os.environ.update({**environment, _THREADS: "1"})
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    module, *arguments = command
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _command(job: Job, folder: Path) -> list[str]:
    if job.can_resume and (folder / "checkpoint.pt").exists():
        return [job.module, "train", "--resume", str(folder)]
    return [job.module, *job.arguments(), "--force", "-o", str(folder)]


def _mark(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.done")
