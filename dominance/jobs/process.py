"""The process in which a job runs: it takes the job's lock, runs the module, and leaves the mark.

Forked by ``helper``, or as a program of its own, ``python -m dominance.jobs.process``, for what needs a Python that has
imported nothing. What it has to tell that is no exit code goes to a pipe, in one line; a job may end with any code.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from dominance.errors import RunExists
from dominance.jobs.job import Request, beside, is_done, write_mark
from dominance.jobs.versions import differences, versions
from dominance.store.lock import FileLock

Say = Callable[[str, str], None]
"""Tells the caller a word, with its reason: began, held, there, other, refused."""


class JobProcess:
    """One job in this process; ``claim``, then ``go``, then ``finish``."""

    def __init__(self, told: Request) -> None:
        self.told, self.began, self.words = told, time.monotonic(), told.words()
        self._lock: FileLock | None = None

    def claim(self, say: Say) -> bool:
        """Whether it is ours to run; if not, why has been said. What is printed from then on goes into the log."""
        other = "" if self.told.versions is None else differences(versions(), self.told.versions)
        if other:
            say("other", f"{os.uname().nodename if hasattr(os, 'uname') else 'a worker'} has {other}")
            return False
        try:
            os.chdir(self.told.cwd)
            self._lock = FileLock(beside(self.told.outcome, "lock"))
            log = os.open(beside(self.told.outcome, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except RunExists:
            say("held", "")
            return False
        except OSError as error:
            say("refused", f"{error.filename or self.told.folder}: {error.strerror}")
            return False
        if is_done(self.told.outcome):
            say("there", "")
            os.close(log)
            self.finish(1)
            return False
        self.words = self.told.words()  # by now somebody may have left a checkpoint
        for number in (1, 2):
            os.dup2(log, number)
        os.close(log)
        say("began", "")
        return True

    def go(self) -> int:
        """``python -m`` the job's words. Returns the exit code; what the module raises is raised."""
        module, *arguments = self.words
        sys.argv = [module, *arguments]
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as left:
            return _code(left)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        return 0

    def finish(self, code: int) -> None:
        """Leave the mark when it went well, and let others have the lock."""
        if self._lock is None:
            return
        try:
            if code == 0:
                write_mark(self.told, self.words, versions(), time.monotonic() - self.began)
        finally:
            self._lock.release()


def _code(left: SystemExit) -> int:
    if left.code is None or isinstance(left.code, int):
        return (left.code or 0) & 0xFF
    print(left.code, file=sys.stderr)
    return 1


def run_forked(told: Request, say: Say) -> int:
    """A job in a process that is forked for it, which the caller ends with the code that this returns."""
    job = JobProcess(told)
    if told.path is not None:
        sys.path[:] = told.path
        os.environ.clear()
    os.environ.update(told.environment)
    if not job.claim(say):
        return 1
    code = 1
    try:
        code = job.go()
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        code = _flushed(code)
    finally:
        job.finish(code)
    return code


def _flushed(code: int) -> int:
    """A job whose last words found no room has not gone well."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            return code or 1
    return code


def main() -> int:
    """A job in a process of its own: its request is in the environment, and in ``DOMINANCE_JOB_TELL`` a descriptor."""
    told = Request.from_json(os.environ.pop("DOMINANCE_JOB"))
    tell = int(os.environ.pop("DOMINANCE_JOB_TELL"))
    number = int(os.environ.pop("DOMINANCE_JOB_NUMBER"))

    def say(word: str, why: str) -> None:
        os.write(tell, (json.dumps({"id": number, "word": word, "why": why}) + "\n").encode())
        os.close(tell)  # the job's own children must not hold it open

    job = JobProcess(told)
    if not job.claim(say):
        return 1
    ended: list[Any] = [1]
    atexit.register(lambda: job.finish(ended[0]))  # the first to be registered is the last to run
    ended[0] = job.go()
    return int(ended[0])


if __name__ == "__main__":
    sys.exit(main())
