"""Jobs that are scripts of the user: each in a Python of its own, which has imported nothing yet."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dominance_cli.jobs import Running


@dataclass(frozen=True)
class ScriptJob:
    """One recorded run of a script.

    Attributes:
        name: of its folder.
        label: what it is, in a few words.
        flags: of ``dominance record``.
        script: the script and its arguments, with ``-m`` before a module.
        seed: which repeat of it this is.
    """

    name: str
    label: str
    flags: tuple[str, ...]
    script: tuple[str, ...]
    seed: int = 0

    def command(self, folder: Path) -> list[str]:
        """What ``dominance`` is given."""
        return ["record", "-q", "--force", "-o", str(folder), *self.flags, *self.script]


class _Process:
    """``subprocess.Popen`` with the names that ``multiprocessing.Process`` has."""

    def __init__(self, command: list[str], log: Path) -> None:
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self) -> None:
        self._process.wait()


class Fresh(Running):
    """A script that runs; Ctrl-C reaches us alone, and we tell it."""

    job: Any

    def _command(self) -> list[str]:
        return ["dominance", *self.job.command(self.folder)]

    def _start(self) -> Any:
        return _Process([sys.executable, "-m", *self.command], self.log)


def share_cores(workers: int) -> None:
    """Scripts that run at the same time share the cores, unless the user says how many threads each takes."""
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
