"""What several tests of the store ask for."""

from __future__ import annotations

import pytest


@pytest.fixture
def blocks_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written 64 at a time, and a chunk has as many, as where a row is large: small files do for a test."""
    monkeypatch.setattr("dominance.store.grid._LONGEST_BLOCK", 64)
    monkeypatch.setattr("dominance.store.grid._LONGER_CHUNK", 0)
