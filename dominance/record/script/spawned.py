"""In a process that a recorded script starts by multiprocessing: where several train together, that is recorded.

Nothing of it stands between the interpreter and the script's function: it begins where multiprocessing lets a new
process make itself ready, and ends among what that does at the end of a process. Who trains together, and which of
them this process is, is known when the script makes its process group; one that makes none is left alone.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import util
from pathlib import Path
from typing import Any, Literal

from dominance.config import RecordOptions
from dominance.record.launch import with_rank
from dominance.record.patches import replace as put_in_place
from dominance.record.script import beside
from dominance.record.script.claim import PathClaim
from dominance.record.script.ending import next_command, runs_recorded, shielded
from dominance.record.script.import_hook import when_imported
from dominance.record.script.session import ScriptSession
from dominance.record.script.tracebacks import peel
from dominance.streams import line, note

WITHOUT_GROUP = (
    "a process that the script starts trains without a process group of torch.distributed: only those that train "
    "together are recorded"
)
PROBE_ELSEWHERE = "no noise probe will be made: the model is that of a process which the script starts"

_FIRST = 100
"""Of what multiprocessing does at the end of a process."""


@dataclass(frozen=True)
class Handed:
    """What a process is handed on by the one that starts it."""

    options: RecordOptions
    claim: PathClaim
    shown: Path
    """The run directory, as the user wrote it."""
    script: str
    argv: list[str]
    attrs: Mapping[str, Any]
    folder: str
    """Where the script's own modules lie."""
    says: bool = True
    """Whether this process, of several, says what holds for all of them."""


_here: list[Spawned] = []
"""Held: multiprocessing holds what it is to call by weak references."""


def arrive(handed: Handed) -> None:
    """The process has been told what to run, and is about to."""
    here = Spawned(handed)
    _here.append(here)
    here.begin()
    # A process that a forkserver forked forgets what it is to do in the end, and then calls this.
    util.register_after_fork(here, Spawned.ends)


class Spawned:
    """The recording of this process."""

    def __init__(self, handed: Handed) -> None:
        self._handed = handed
        self._pid = os.getpid()
        self._session: ScriptSession | None = None
        self._stack = ExitStack()
        self._finish: util.Finalize[Any] | None = None
        self._hears_no_more: Callable[[], object] = bool
        self._interrupts: int | None = None
        """Where the signals that came can be read."""

    def begin(self) -> None:
        """From now on, see whether the process trains together with others."""
        with shielded():
            beside.not_from(self._handed.folder)
            self.ends()
            self._notice_interrupts()
            self._stack.enter_context(when_imported("torch", self._torch))

    def ends(self) -> None:
        """Have the recording closed when the process has done what it was started for; not one that it has forked."""
        if os.getpid() != self._pid:
            return
        if self._finish is None or not self._finish.still_active():
            self._finish = util.Finalize(None, self._end, exitpriority=_FIRST)

    def _notice_interrupts(self) -> None:
        """torch.multiprocessing.spawn catches KeyboardInterrupt, and looks as if it had come to its end."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            return
        self._interrupts = reading
        self._stack.callback(signal.set_wakeup_fd, -1)

    def _torch(self) -> None:
        """torch is there."""
        with shielded():
            import torch.distributed as dist
            from torch.optim.optimizer import register_optimizer_step_pre_hook

            if not dist.is_available():
                return
            launcher: Any = importlib.import_module("torch.multiprocessing.spawn")
            launcher.open = _open
            self._stack.callback(vars(launcher).pop, "open", None)
            c10d: Any = importlib.import_module("torch.distributed.distributed_c10d")
            self._stack.callback(put_in_place(c10d, "_update_default_pg", self._grouped))
            self._hears_no_more = register_optimizer_step_pre_hook(self._steps).remove
            self._stack.callback(self._hears_no_more)
            if dist.is_initialized():
                self._together()

    def _grouped(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        def update(group: Any) -> None:
            original(group)
            if group is not None and self._session is None and os.getpid() == self._pid:
                with shielded():
                    self._together()

        return update

    def _together(self) -> None:
        """The process knows those that it trains together with: record from here on."""
        import torch.distributed as dist

        self._hears_no_more()
        handed, rank = self._handed, dist.get_rank()
        if rank:
            # Taken with the first row, if there is any: where gradients are averaged, rank 0 writes the run.
            place = PathClaim(with_rank(handed.claim.path, rank), force=False, resume=False, there=None).take()
        else:
            place = handed.claim.take()
        options = replace(handed.options, probe=(), averages=handed.options.keeps_averages)
        session = ScriptSession(
            place.path,
            options,
            script=handed.script,
            argv=handed.argv,
            force=place.overwrite,
            resume=place.resume,
            attrs={**handed.attrs, **place.attrs},
        )
        with beside.apart():
            if not rank:
                session.check_output()
            self._session = session
            session.listen(took=0.0)  # what the script has taken to come here is its own
            session.start()
        if handed.options.probe and not rank and not options.quiet:
            note(PROBE_ELSEWHERE)

    def _steps(self, *_: Any) -> None:
        """An optimizer is about to step."""
        if self._handed.says and not self._handed.options.quiet and os.getpid() == self._pid:
            self._handed = replace(self._handed, says=False)
            note(WITHOUT_GROUP)

    def _end(self) -> None:
        """The script's function is over; what it raised is on its way up."""
        error = sys.exc_info()[1]
        if error is not None:
            peel(error)
        session, self._session = self._session, None
        with shielded(), beside.apart():
            if session is not None:
                self._tell(session, self._kind(error))
        self._stack.close()

    def _kind(self, error: BaseException | None) -> Literal["complete", "failed", "interrupted"]:
        if isinstance(error, KeyboardInterrupt) or self._was_interrupted():
            return "interrupted"
        return "complete" if error is None or (isinstance(error, SystemExit) and not error.code) else "failed"

    def _was_interrupted(self) -> bool:
        if self._interrupts is None:
            return False
        with contextlib.suppress(BlockingIOError):
            return signal.SIGINT in os.read(self._interrupts, 1 << 16)
        return False

    def _tell(self, session: ScriptSession, kind: Literal["complete", "failed", "interrupted"]) -> None:
        result = session.finish(kind)
        if result.elsewhere or self._handed.options.quiet:
            return
        if result.message:
            note(result.message)
        if result.steps:
            runs = {str(self._handed.shown.with_name(path.name)): steps for path, steps in result.steps.items()}
            for text in runs_recorded(runs):
                note(text)
            line(next_command(runs))


def _open(*args: Any, **kwargs: Any) -> Any:
    """What torch.multiprocessing.spawn calls when the script's function has failed, before it takes the traceback."""
    if (error := sys.exc_info()[1]) is not None:
        peel(error)
    return builtins.open(*args, **kwargs)
