"""Processes that train together."""

from __future__ import annotations

import pytest
from forks import Forks
from record.launched import Launcher


@pytest.fixture(scope="session")
def launcher(forks: Forks) -> Launcher:
    return Launcher(forks)
