"""Has processes recorded that a script starts by multiprocessing, by spawn or forkserver, as torch does.

Such a process is told what to run in a message. Ours is laid at its end, and is of a kind that the process can read
whether or not it finds this package.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import multiprocessing
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dominance
from dominance.record.patches import replace as put_in_place
from dominance.record.script.ending import shielded
from dominance.record.script.spawned import Handed
from dominance.record.step_recorder import FORKED, StepRecorder

_ATTRIBUTE = "_dominance"

_NO_TRAINING = ("multiprocessing", "concurrent", "joblib", "torch.utils.data")
"""Packages that start processes of their own, as of pools and of a DataLoader."""


def _read(root: str, folder: str, told: bytes) -> None:
    """In the process that is started, which has this function as text."""
    import sys

    try:
        before = list(sys.path)
        sys.path[:] = [root, *(entry for entry in before if entry != folder)]
        try:
            import pickle

            from dominance.record.script import spawned

            handed = pickle.loads(told)
        finally:
            sys.path[:] = before
        spawned.arrive(handed)
    except Exception as error:  # noqa: BLE001  the process is to do what it was started for
        text = f"dominance: error: a process that the script starts is not recorded: {error!r}"
        print(text, file=sys.stderr, flush=True)


class Handing:
    """Hands the recording on to the processes that the script starts.

    Args:
        handed: what they are told.
        watch: what watches this process.
        begins: called before the first is started: they may need the run directory.
    """

    def __init__(self, handed: Handed, watch: StepRecorder, begins: Callable[[], None]) -> None:
        self._handed = handed
        self._begins = begins
        self._pid = os.getpid()
        self._started: list[Any] = []
        watch.hooks.starts.heard = lambda forked: watch.recording.say(FORKED) if forked else None
        self._undo = put_in_place(BaseProcess, "start", self._starting)

    def stop(self) -> None:
        """Leave the processes alone that are started from now on."""
        self._undo()

    def _starting(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(original)
        def start(process: Any) -> None:
            with shielded():
                if self._may_train(process):
                    self._hand_on(process)
            try:
                original(process)
            finally:
                vars(process).pop(_ATTRIBUTE, None)

        return start

    def _hand_on(self, process: Any) -> None:
        """Lay the message into the process, which is pickled when it starts."""
        handed = replace(self._handed, says=not any(map(_lives, self._started)))
        vars(process)[_ATTRIBUTE] = _Message(handed.folder, pickle.dumps(handed))
        self._started.append(process)
        self._begins()

    def _may_train(self, process: Any) -> bool:
        method = getattr(process, "_start_method", None) or multiprocessing.get_start_method()
        target = getattr(process, "_target", None)
        of = getattr(target, "__module__", None) or type(process).__module__
        own = not any(f"{of}.".startswith(f"{package}.") for package in _NO_TRAINING)
        return os.getpid() == self._pid and method in ("spawn", "forkserver") and own


class _Message:
    """Read as nothing but strings and bytes, by code that nothing of which fails."""

    def __init__(self, folder: str, told: bytes) -> None:
        root = str(Path(dominance.__file__).parents[1])
        self._code = f"{inspect.getsource(_read)}\n_read({root!r}, {folder!r}, {told!r})\n"

    def __reduce__(self) -> Any:
        return exec, (self._code, {})


def _lives(process: Any) -> bool:
    with contextlib.suppress(ValueError):  # closed
        return getattr(process, "_popen", None) is not None and bool(process.is_alive())
    return False
