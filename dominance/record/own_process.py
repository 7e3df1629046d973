"""Processes of our own beside a training: nothing of them is in it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress


class OwnProcess:
    """``python -m MODULE ARGUMENTS``, at low priority, which is no child of this process.

    Args:
        module: what is run.
        arguments: of it.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self._pid = os.getpid()
        self._said = b""
        command = [sys.executable, "-P", "-m", module, *arguments]
        # The shell leaves at once, and its job is nobody's child: a script that waits for any child finds only its own.
        shell = ["/bin/sh", "-c", 'exec 3<&0; nice "$@" <&3 3<&- 2>&1 &', "sh"]
        # Its own threads would take cores from the training; a recorder in it, were one asked for, would see nothing.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._pipe, theirs = os.pipe()
        ours, asked = socket.socketpair()
        self._asks = ours.detach()  # a number: Python would warn of a socket that the end of a script leaves open
        try:
            subprocess.run(
                [*shell, *command],
                stdin=asked.fileno(),
                stdout=theirs,
                stderr=theirs,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal ends the training, and that ends this
                check=True,
            )
        except BaseException:
            os.close(self._asks)
            os.close(self._pipe)
            raise
        finally:
            asked.close()
            os.close(theirs)

    def end(self) -> None:
        """End its stdin, which ends with this process, too. Twice is once; in a forked child nothing."""
        if os.getpid() == self._pid and self._asks >= 0:
            with socket.socket(fileno=self._asks) as asks, suppress(OSError):  # it may have ended
                asks.shutdown(socket.SHUT_RDWR)  # for workers too, which were forked and hold the same
            self._asks = -1

    def line(self, longest: float) -> str | None:
        """The next line it says; None where it says none in so many seconds, "" once it has ended."""
        end = time.monotonic() + longest
        while b"\n" not in self._said:
            more = self._more(end)
            if more is None:
                return None
            if not more:
                break
        first, _, self._said = self._said.partition(b"\n")
        return first.decode(errors="replace")

    def rest(self, longest: float) -> list[str] | None:
        """What else it has to say, once it has ended; None where it has not in so many seconds."""
        if os.getpid() != self._pid:
            return []
        end = time.monotonic() + longest
        while more := self._more(end):
            pass
        if more is None:
            return None
        os.close(self._pipe)
        lines = self._said.decode(errors="replace").splitlines()
        return [line.removeprefix("dominance: ") for line in lines if line.strip()]

    def _more(self, end: float) -> bytes | None:
        if not select.select([self._pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        more = b""
        with suppress(OSError):
            more = os.read(self._pipe, 65536)
        self._said += more
        return more
