"""Files that appear whole or not at all, and a count of what they take of the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dominance.errors import RecordingFailed
from dominance.store.room import Room, block_of

PARTIAL = ".partial"
"""Ending of a file that is still being written; one that is left over belongs to a killed process."""


def refuse_links(paths: Iterable[Path]) -> None:
    """Raise RecordingFailed where one of these is a link: what lies outside a run is not written."""
    for path in paths:
        if path.is_symlink():
            raise RecordingFailed(
                f"{path}: is a link, which is not written through", fix="put what it points to in its place"
            )


class Disk:
    """The files below ``root``, by key ("group/array/c.0.1"). A file is replaced by renaming, so that a process that is
    killed while it writes leaves the old one; this does not cover a power cut, where checksums tell what was lost.

    Args:
        root: the folder of the Zarr group.
        budget: bytes of the disk that all files and folders together never exceed, the file being written included;
            None for no limit.
    """

    def __init__(self, root: Path, budget: int | None = None) -> None:
        self.root = root
        self.budget = budget
        self.room = Room(block_of(root))

    @property
    def total(self) -> int:
        """Bytes that all files and folders take."""
        return self.room.total

    def scan(self) -> None:
        """Learn the sizes of the files that are there, and delete what a killed process left half-written.

        Raises:
            RecordingFailed: there is a link among them.
        """
        self.room = Room(self.room.block)
        for folder, folders, names in os.walk(self.root):
            refuse_links(Path(folder, name) for name in (*folders, *names))
            for name in names:
                path = Path(folder, name)
                if not path.is_file():
                    raise RecordingFailed(f"{path}: is no file", fix="see what it is, and remove it")
                if name.endswith(PARTIAL):
                    path.unlink()
                else:
                    self.room.put(path.relative_to(self.root).as_posix(), path.stat().st_size)

    def taken(self, key: str) -> int:
        """Bytes that the file takes, 0 when there is none."""
        return self.room.taken(key)

    def files(self) -> list[str]:
        return list(self.room)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace a file.

        Raises:
            RecordingFailed: the budget would be exceeded, or the run directory is gone; nothing was written.
            OSError: the disk is full, or gone; the old file is still there.
        """
        if self.budget is not None and self.total + self.room.beside(key, len(data)) > self.budget:
            raise RecordingFailed(
                f"{self.root.parent}: {key} does not fit into the budget of {self.budget} bytes",
                fix="give a larger --budget",
            )
        path = self.root / key
        unfinished = path.with_name(path.name + PARTIAL)
        try:
            self._write(unfinished, data)
            os.replace(unfinished, path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        self.room.put(key, len(data))

    def get(self, key: str) -> bytes:
        """Raises FileNotFoundError when there is no such file."""
        return (self.root / key).read_bytes()

    def remove(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)
        self.room.remove(key)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.write_bytes(data)
        except FileNotFoundError:
            if not self.root.is_dir():
                # Made again it would be a run without its beginning, perhaps on another disk.
                raise RecordingFailed(
                    f"{self.root.parent}: the run directory is gone", fix="leave it in its place while it is recorded"
                ) from None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
