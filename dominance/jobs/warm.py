"""The helper of this process, and the jobs that it has been given: one for as long as the process lives."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dominance.jobs.job import Answer, Request, beside, is_done, write_mark
from dominance.jobs.versions import versions

Ended = Callable[[Answer], None]
_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + 9}
"""Exit codes of what a signal has ended, and of trainings that kept a checkpoint first."""


@dataclass
class _Open:
    told: Request
    ended: Ended
    began: float
    log: int
    """Bytes that it held before."""
    word: str = ""
    why: str = ""


class Warm:
    """A helper process. Safe to use from several threads; ``ended`` is called from one of its own."""

    def __init__(self) -> None:
        start = "import sys; sys.path[:] = sys.argv[1:]; from dominance.jobs.helper import main; main()"
        self.pid = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-c", start, *sys.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._jobs: dict[int, _Open] = {}
        self._next, self._lock, self._writing, self.alive = 0, threading.Lock(), threading.Lock(), True
        threading.Thread(target=self._listen, daemon=True, name="dominance-jobs").start()

    def start(self, told: Request, ended: Ended) -> int:
        """Have a job run. Returns a number by which it can be interrupted.

        Args:
            ended: is called once, from another thread.
        """
        log = beside(told.outcome, "log")
        before = log.stat().st_size if log.is_file() else 0
        with self._lock:
            self._next += 1
            number = self._next
            self._jobs[number] = _Open(told, ended, time.monotonic(), before)
        if not self._tell({"id": number, "job": told.to_json()}):
            self._end(number, None)
        return number

    def interrupt(self, number: int) -> None:
        """Tell a job to keep a checkpoint and to end."""
        self._tell({"id": number, "interrupt": int(signal.SIGINT)})

    def running(self) -> int:
        """How many jobs have not ended."""
        return len(self._jobs)

    def close(self) -> None:
        """Stop what runs, and wait for it."""
        with self._writing, contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()

    def _tell(self, said: dict[str, Any]) -> bool:
        with self._writing:
            try:
                assert self._process.stdin is not None
                self._process.stdin.write((json.dumps(said) + "\n").encode())
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError):
                return False
        return True

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "code" in said:
                    self._end(said["id"], said["code"])
                elif said["id"] in self._jobs:
                    self._jobs[said["id"]].word, self._jobs[said["id"]].why = said["word"], said["why"]
        self.alive = False
        for number in list(self._jobs):
            self._end(number, None)

    def _end(self, number: int, code: int | None) -> None:
        with self._lock:
            job = self._jobs.pop(number, None)
        if job is not None:
            job.ended(_answer(job, code))


def _answer(job: _Open, code: int | None) -> Answer:
    seconds = time.monotonic() - job.began
    if job.word == "held":
        return Answer("held")
    if job.word == "there":
        return Answer("there")
    if job.word == "other":
        return Answer("other", job.why)
    if job.word == "refused":
        return Answer("refused", job.why)
    if code is None:
        return Answer("killed", "the process that starts the jobs was killed", seconds)
    if code == 0:
        if not is_done(job.told.outcome):  # it left by os._exit, past all that could have left the mark
            write_mark(job.told, job.told.words(), versions(), seconds)
        return Answer("done", seconds=seconds)
    said = _last_line(job)
    if code < 0 or code in _STOPPED:
        return Answer("killed", said or f"ended with {code}", seconds)
    return Answer("failed", said or f"ended with {code}", seconds)


def _last_line(job: _Open) -> str:
    """What the log says last of this attempt: the error, where there is one."""
    log = beside(job.told.outcome, "log")
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(job.log)
        said = file.read().decode("utf-8", errors="replace").strip().splitlines()
    errors = [line for line in said if line.startswith("dominance: error: ")]
    return (errors or said or [""])[-1]


_warm: Warm | None = None
_making = threading.Lock()


def warm() -> Warm:
    """The helper of this process, made where there is none that lives."""
    global _warm
    with _making:
        if _warm is None or not _warm.alive or _warm.pid != os.getpid():
            _warm = Warm()
            atexit.register(_warm.close)
        return _warm
