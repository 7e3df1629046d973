"""A process of its own that sends the run to a logger while it is recorded: nothing of it is in the training."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

LONGEST = 60.0
"""Seconds that the end of a training waits for the last numbers."""


class Follower:
    """``dominance watch PATH --to SINK``; it ends by itself when the run does. Starting it never raises.

    Args:
        path: the run directory, which holds a run that is being recorded.
        to: name of the sink.
    """

    def __init__(self, path: Path, to: str) -> None:
        self._pid = os.getpid()
        self._to = to
        self._said = b""
        command = [sys.executable, "-P", "-m", "dominance", "watch", str(path), "--to", to]
        # The shell leaves at once, and its job is nobody's child: a script that waits for any child finds only its own.
        apart = ["/bin/sh", "-c", 'nice "$@" < /dev/null 2>&1 &', "sh"]
        # Its own threads would take cores from the training; a recorder in it, were one asked for, would see nothing.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ours, theirs = os.pipe()
        try:
            subprocess.run(
                [*apart, *command],
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal ends the training, and the run then ends this
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._said = f"nothing is sent to {to}: {error}".encode()
        finally:
            os.close(theirs)
        self._pipe = ours

    def wait(self, longest: float = LONGEST) -> list[str]:
        """What it has to say when it has ended; for so many seconds at most."""
        if os.getpid() != self._pid:
            return []
        end = time.monotonic() + longest
        with open(self._pipe, "rb", buffering=0) as pipe:
            while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
                more = b""
                with suppress(OSError):
                    more = pipe.read(65536)
                if not more:
                    break
                self._said += more
            else:
                return [f"the last numbers are still being sent to {self._to}"]
        lines = self._said.decode(errors="replace").splitlines()
        return [line.removeprefix("dominance: ") for line in lines if line.strip()]
