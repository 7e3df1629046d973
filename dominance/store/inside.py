"""A run directory as a read-only store of Zarr that follows no link in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore


class InsideStore(LocalStore):
    """``check`` is called with every key before it is read, and raises OSError where that leaves the folder."""

    def __init__(self, root: Path, check: Callable[[str], Any]) -> None:
        super().__init__(root, read_only=True)
        self._check = check

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """As LocalStore's."""
        self._check(key)
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """As LocalStore's."""
        asked = list(key_ranges)
        for key, _ in asked:
            self._check(key)
        return await super().get_partial_values(prototype, asked)
