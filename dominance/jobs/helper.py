"""A process that has the imports of a training, and forks itself for every job that it is told of.

It reads lines of JSON from its standard input and writes some to its standard output; when the input ends, because
whoever started it has gone, it stops its jobs and goes too. One thread: what is forked has no lock of another's.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from dominance.jobs.job import Request
from dominance.jobs.process import run_forked

THREADS = "OMP_NUM_THREADS"
IMPORTED = (
    "torch",
    "torch._dynamo",
    "zarr",
    "xarray",
    "pandas",
    "sklearn.datasets",
    "dominance_cli.main",
    "dominance.benchmarks.train.trainer",
)
"""What every training imports, torch itself torch._dynamo in the first step of its optimizers."""
PATIENCE = 60.0
"""Seconds that jobs are given to keep a checkpoint, once whoever wanted them has gone."""
_PR_SET_PDEATHSIG = 1
_STOPS = {signal.SIGINT, signal.SIGTERM}


class Helper:
    """The forking process: ``serve`` returns when the input has ended and the jobs have, too."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)  # whatever an import prints is no line of ours
        self._input, self._wake = b"", os.pipe()
        self._children: dict[int, int] = {}
        self._fresh: dict[int, subprocess.Popen[bytes]] = {}  # kept: one that is dropped is waited for by subprocess
        self._warm = False

    def serve(self) -> None:
        """Until the input ends."""
        for end in self._wake:
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        with selectors.DefaultSelector() as ready:
            for source in (0, self._wake[0]):
                ready.register(source, selectors.EVENT_READ)
            while all(list(map(self._serve, [key.fd for key, _ in ready.select()]))):
                pass
            ready.unregister(0)
            for pid in self._children:
                _signal(pid, signal.SIGTERM)
            while self._children and ready.select(PATIENCE):
                self._serve(self._wake[0])

    def _serve(self, source: int) -> bool:
        """What came in; False when nothing will any more."""
        if source == self._wake[0]:
            with contextlib.suppress(BlockingIOError):
                while os.read(source, 4096):
                    pass
            self._reap()
            return True
        read = os.read(0, 1 << 16)
        *lines, self._input = (self._input + read).split(b"\n")
        for line in lines:
            self._told(json.loads(line))
        return bool(read)

    def _told(self, said: Mapping[str, Any]) -> None:
        number = said["id"]
        if "interrupt" in said:
            for pid, each in self._children.items():
                if each == number:
                    _signal(pid, said["interrupt"])
            return
        told = Request.from_json(said["job"])
        try:
            pid = self._spawned(told, number) if told.fresh else self._forked(told, number)
        except OSError as error:  # no memory, too many processes, no such program
            self._say({"id": number, "word": "refused", "why": f"no process: {error.strerror}"})
            self._say({"id": number, "code": 1})
            return
        self._children[pid] = number

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            number = self._children.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            if (process := self._fresh.pop(pid, None)) is not None:
                process.returncode = code
            if number is not None:
                self._say({"id": number, "code": code})

    def _say(self, said: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens any more
            os.write(self._out, (json.dumps(said) + "\n").encode())

    def _spawned(self, told: Request, number: int) -> int:
        """A Python that has imported nothing."""
        environment = {**({} if told.path is not None else os.environ), **told.environment}
        environment |= {"DOMINANCE_JOB": told.to_json(), "DOMINANCE_JOB_NUMBER": str(number)}
        environment["DOMINANCE_JOB_TELL"] = str(self._out)
        parent = os.getpid()
        process = subprocess.Popen(
            [sys.executable, "-m", "dominance.jobs.process"],
            stdin=subprocess.DEVNULL, env=environment, cwd=told.cwd, pass_fds=[self._out], start_new_session=True,
            preexec_fn=lambda: _die_with(parent),
        )  # fmt: skip
        self._fresh[process.pid] = process
        return process.pid

    def _forked(self, told: Request, number: int) -> int:
        if not self._warm:
            self._import()
        parent = os.getpid()
        # A signal that comes before the child is itself would be lost in somebody's hook for forks.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        pid = os.fork()
        if not pid:
            self._child(told, number, parent, mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid

    def _import(self) -> None:
        before = os.environ.get(THREADS)
        os.environ[THREADS] = "1"  # read when torch is imported
        gc.disable()  # going through all that is imported, again and again, is a fifth of the time
        for name in IMPORTED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        if before is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = before
        gc.collect()
        gc.freeze()  # what is here is here to stay: a collection in a child must not copy its pages
        gc.enable()
        self._warm = True

    def _child(self, told: Request, number: int, parent: int, mask: set[int]) -> NoReturn:
        code = 1
        try:
            _die_with(parent)
            os.setsid()  # Ctrl-C reaches the caller alone, which tells us
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            for file in (nothing, *self._wake):
                os.close(file)

            def say(word: str, why: str) -> None:
                self._say({"id": number, "word": word, "why": why})
                os.close(self._out)

            told.environment[THREADS] = "1"  # with so many torch was imported
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = run_forked(told, say)
        except KeyboardInterrupt:  # before the job had begun
            code = 128 + signal.SIGINT
        finally:  # whatever was raised, the parent's loop must not run on in a child
            if (error := sys.exc_info()[1]) is not None:
                traceback.print_exception(error)
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _die_with(parent: int) -> None:
    """Have the system stop this process when its parent is killed, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> None:
    """The helper, as a program."""
    Helper().serve()


if __name__ == "__main__":
    main()
