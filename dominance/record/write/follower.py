"""A process of its own that sends the run to a logger while it is recorded: nothing of it is in the training."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from dominance.record.own_process import OwnProcess

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
        self._apart: OwnProcess | None = None
        self._why = ""
        try:
            self._apart = OwnProcess("dominance", ["watch", str(path), "--to", to])
        except (OSError, subprocess.SubprocessError) as error:
            self._why = f"nothing is sent to {to}: {error}"

    def wait(self, longest: float = LONGEST) -> list[str]:
        """What it has to say when it has ended; for so many seconds at most."""
        if os.getpid() != self._pid:
            return []
        if self._apart is None:
            return [self._why]
        self._apart.end()
        said = self._apart.rest(longest)
        return [f"the last numbers are still being sent to {self._to}"] if said is None else said
