"""Processes that train together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from record.launched import Launcher


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as forks:
        yield forks
