"""Who writes a run: one process at a time. The system holds the lock, so that a kill releases it.

Record locks of the system and no library: this module is loaded in the process of a stranger's script, where fork hooks
and audit hooks of a lock library would be his. A record lock is not inherited by a forked DataLoader worker, which may
outlive a trainer that is killed; and it knows one holder a process, so that a set tells those within ours apart.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from errno import EACCES, EAGAIN, EDEADLK
from pathlib import Path

from dominance.errors import BadOption, RunExists

NAME = ".lock"
"""The file in the run directory; it goes when the lock is released, and is left empty by a process that was killed."""

_held: set[tuple[int, int]] = set()
"""Device and inode of every lock that this process holds."""


def occupied(path: Path) -> bool:
    """Whether there is a file, or a folder with anything in it but a lock."""
    return path.exists() and (not path.is_dir() or any(child.name != NAME for child in path.iterdir()))


def _key(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class RunLock:
    """Taken when it is made. In a forked child ``release`` does nothing.

    Args:
        path: the run directory; made where it is missing.

    Raises:
        RunExists: another process, or another recorder of this one, writes into it.
        BadOption: the directory cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid = os.getpid()
        self._made = not path.exists()
        self._file: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                self._file = self._taken()
        except FileExistsError:
            raise RunExists(f"{path}: is a file", fix="choose another directory with -o") from None
        except OSError as error:
            fix = "choose another directory with -o"
            raise BadOption(f"{path}: cannot be made or written ({error.strerror})", fix=fix) from error

    def _taken(self) -> int | None:
        """The descriptor of the locked file; None where its last holder removed it meanwhile."""
        name = self.path / NAME
        if _key(name) in _held:
            # Not opened: to close any descriptor of the file would give up the lock that this process holds.
            raise self._refused()
        file = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            if not _lock(file):
                raise self._refused()
            found = os.fstat(file)
            if _key(name) == (found.st_dev, found.st_ino):
                self._held = found.st_dev, found.st_ino
                _held.add(self._held)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def _refused(self) -> RunExists:
        fix = "choose another directory with -o, or wait for it"
        return RunExists(f"{self.path}: a recording in progress writes into it", fix=fix)

    def release(self) -> None:
        """Let others write; leave no empty folder where none was. Twice is once."""
        if self._file is None or os.getpid() != self._pid:
            return
        file, self._file = self._file, None
        with suppress(OSError):  # the folder, or its disk, may be gone
            (self.path / NAME).unlink()
        _held.discard(self._held)
        os.close(file)
        if self._made:
            with suppress(OSError):
                self.path.rmdir()


if sys.platform == "win32":

    def _lock(file: int) -> bool:
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (EACCES, EDEADLK):
                return False
            raise
        return True

else:

    def _lock(file: int) -> bool:
        import fcntl

        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (EACCES, EAGAIN):
                return False
            raise
        return True
