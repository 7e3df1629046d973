"""What files take of a disk: whole blocks of it, each of them and each folder, as ``du`` counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 4096  # where the system tells none, or tells how much it likes to send over a network, which is no block
_LARGEST_BLOCK = 1 << 16
_NAME = 64  # bytes of a folder for a name, at most: ext4 and others split its blocks in halves when they are full


def block_of(path: Path) -> int:
    """Bytes of which the file system at ``path``, or at what will be above it, gives every file a whole number."""
    if not hasattr(os, "statvfs"):
        return _BLOCK
    for folder in (path, *path.absolute().parents):
        try:
            block = os.statvfs(folder).f_frsize
        except OSError:  # not made yet, or gone: what is above it may be there
            continue
        return block if 0 < block <= _LARGEST_BLOCK else _BLOCK
    return _BLOCK


def rounded(size: int, block: int) -> int:
    """What a file of so many bytes takes.

    >>> rounded(0, 4096), rounded(1, 4096), rounded(4096, 4096), rounded(4097, 4096)
    (0, 4096, 4096, 8192)
    """
    return -(-size // block) * block


def folder(names: int, block: int) -> int:
    """What a folder of so many names takes, at most: from the second block on one more tells where a name is.

    >>> folder(10, 4096), folder(64, 4096)
    (4096, 12288)
    """
    blocks = 1 + names * _NAME // block
    return block * (blocks + (blocks > 1))


class Room:
    """Sizes of files by key ("group/array/c.0"), and what they and their folders take together.

    Args:
        block: as ``block_of``; 1 where no disk is below, as in an object store, which has no folders either.

    Attributes:
        total: bytes that all take, with the root folder and the one it lies in.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self.total = 2 * self._folder(0)
        self._sizes: dict[str, int] = {}
        self._names: dict[str, int] = {"": 0}

    def _folder(self, names: int) -> int:
        return 0 if self.block == 1 else folder(names, self.block)

    def __contains__(self, key: str) -> bool:
        return key in self._sizes

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def taken(self, key: str) -> int:
        """Bytes of the disk that the file takes, 0 when there is none."""
        return rounded(self._sizes.get(key, 0), self.block)

    def folders(self) -> Iterator[tuple[str, int]]:
        """Every folder below the root, and what it takes."""
        return ((key, self._folder(names)) for key, names in self._names.items() if key)

    def beside(self, key: str, size: int) -> int:
        """Bytes by which ``total`` grows at most while a file of this size is written beside the one of its key."""
        grows = rounded(size, self.block)
        for place in _above(key):
            if (names := self._names.get(place)) is not None:
                return grows + self._folder(names + 1) - self._folder(names)
            grows += self._folder(1)
        return grows

    def put(self, key: str, size: int) -> None:
        """There is a file of this size now, in the place of any that was."""
        if key not in self._sizes:
            self._add_name(key)
        self.total += rounded(size, self.block) - self.taken(key)
        self._sizes[key] = size

    def _add_name(self, key: str) -> None:
        for place in _above(key):
            names = self._names.get(place)
            self._names[place] = (names or 0) + 1
            self.total += self._folder((names or 0) + 1) - (0 if names is None else self._folder(names))
            if names is not None:
                return

    def remove(self, key: str) -> None:
        """The file is gone; its folders are not."""
        if key in self._sizes:
            self.total -= self.taken(key)
            del self._sizes[key]


def _above(key: str) -> Iterator[str]:
    """The folders that a file lies in, from the innermost to the root, "".

    >>> list(_above("update/total/c.0")), list(_above("zarr.json"))
    (['update/total', 'update', ''], [''])
    """
    while key:
        key = key.rpartition("/")[0]
        yield key
