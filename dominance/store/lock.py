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
    """Whether there is a file, or a folder with anything in it but a lock.

    Raises:
        BadOption: that cannot be told; or it is an address, of which a path would make a folder called "s3:".
    """
    if len(path.parts) > 1 and len(path.parts[0]) > 2 and path.parts[0].endswith(":"):
        address = f"{path.parts[0]}//{'/'.join(path.parts[1:])}"
        raise BadOption(f"{address}: is an address, which only `dominance record` writes to", fix="give a folder")
    try:
        return path.exists() and (not path.is_dir() or any(child.name != NAME for child in path.iterdir()))
    except OSError as error:  # too long a name, a folder that nobody may read
        fix = "choose another directory with -o"
        raise BadOption(f"{path}: cannot be made or written ({error.strerror})", fix=fix) from None


def left_by_another(path: Path) -> bool:
    """Whether there is something at ``path``, and no recording in progress that writes into it."""
    return occupied(path) and held(path) is not True


def _key(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def held(path: Path) -> bool | None:
    """Whether somebody writes the run at ``path``, on this machine; None where that cannot be told."""
    name = path / NAME
    if (key := _key(name)) is None:
        return False
    return True if key in _held else _other_holds(name)


class FileLock:
    """A lock on a file, taken when it is made. In a forked child ``release`` does nothing.

    Args:
        name: the file; made where it is missing, in a folder that is there.

    Raises:
        RunExists: another process, or another lock of this one, holds it.
        OSError: it cannot be made.
    """

    def __init__(self, name: Path) -> None:
        self.name = name
        self._pid = os.getpid()
        self._file: int | None = None
        while self._file is None:
            self._file = self._taken()

    def _taken(self) -> int | None:
        """The descriptor of the locked file; None where its last holder removed it meanwhile."""
        if _key(self.name) in _held:
            # Not opened: to close any descriptor of the file would give up the lock that this process holds.
            raise RunExists(f"{self.name}: is held")
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        file = os.open(self.name, flags, 0o666)
        try:
            if not _lock(file):
                raise RunExists(f"{self.name}: is held")
            found = os.fstat(file)
            if _key(self.name) == (found.st_dev, found.st_ino):
                self._held = found.st_dev, found.st_ino
                _held.add(self._held)
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def release(self) -> bool:
        """Let others have it, and take the file away. Twice is once. Returns whether it was held until now."""
        if self._file is None or os.getpid() != self._pid:
            return False
        file, self._file = self._file, None
        with suppress(OSError):  # the folder, or its disk, may be gone
            self.name.unlink()
        _held.discard(self._held)
        os.close(file)
        return True


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
        self._made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / NAME)
        except FileExistsError:
            raise RunExists(f"{path}: is a file", fix="choose another directory with -o") from None
        except RunExists:
            fix = "choose another directory with -o, or wait for it"
            raise RunExists(f"{path}: a recording in progress writes into it", fix=fix) from None
        except OSError as error:
            fix = "choose another directory with -o"
            raise BadOption(f"{path}: cannot be made or written ({error.strerror})", fix=fix) from error

    def release(self) -> None:
        """Let others write; leave no empty folder where none was. Twice is once."""
        if self._lock.release() and self._made:
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

    def _other_holds(file: Path) -> bool | None:
        return None

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

    def _other_holds(file: Path) -> bool | None:
        """Asked for, and not tried: a lock that is taken, however shortly, would turn away a recording that begins."""
        import fcntl
        import struct

        if sys.platform != "linux":
            return None  # the form of the question differs
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            answer = fcntl.fcntl(opened, fcntl.F_GETLK, asked)
        except OSError:
            return None
        finally:
            os.close(opened)
        return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)
