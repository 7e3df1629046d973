"""The run directory of a script of which several processes may come to write a run: the first that does takes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dominance.record.script.models import free_path
from dominance.record.write.place import RunPlace
from dominance.schema import DATA_NAME, MODEL_NUMBER, MODEL_OF
from dominance.store.lock import held


@dataclass(frozen=True)
class PathClaim:
    """What a script was given to write its run into, as it was when the script began.

    Args:
        path: the run directory.
        force: replace a run that was there.
        resume: go on with a run that was there.
        there: what was: the inode of its data, and when that was changed last; None: nothing.
    """

    path: Path
    force: bool
    resume: bool
    there: tuple[int, int] | None

    @classmethod
    def of(cls, path: Path, *, force: bool, resume: bool) -> PathClaim:
        """Of a script that is about to begin."""
        return cls(path, force, resume, _look(path))

    @property
    def taken(self) -> bool:
        """Whether somebody has written there since."""
        return _look(self.path) != self.there

    def take(self) -> RunPlace:
        """Where a run that begins now goes: there, unless another process was first; else beside it."""
        if self.taken or held(self.path):
            path = free_path(self.path, 2)
            number = int(path.name.rpartition("-")[2])
            attrs = {MODEL_NUMBER: number, MODEL_OF: [self.path.name, path.name]}
            return RunPlace(path, overwrite=False, resume=False, attrs=attrs)
        return RunPlace(self.path, self.force, self.resume)


def _look(path: Path) -> tuple[int, int] | None:
    try:
        found = (path / DATA_NAME).stat(follow_symlinks=False)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
