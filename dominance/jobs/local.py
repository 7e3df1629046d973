"""Jobs as processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dominance.jobs.engine import Running
from dominance.jobs.warm import warm


class Local:
    """Forked from one that has torch imported: a small training takes less time than that import.

    Args:
        at_once: so many run at the same time.
    """

    can_detach = False

    def __init__(self, at_once: int) -> None:
        self.at_once = self.workers = at_once

    def check(self, folder: Path, versions: Mapping[str, str] | None) -> None:
        """They are this very environment."""

    def start(self, some: Sequence[Running]) -> None:
        """In the order given."""
        for each in some:
            told = replace(each.told, environment=dict(os.environ), path=list(sys.path))
            each.handle = warm().start(told, each.ended)

    def interrupt(self, some: Sequence[Running]) -> None:
        """By SIGINT."""
        for each in some:
            warm().interrupt(each.handle)

    def lost(self) -> str:
        """Never: a helper that is killed is made again."""
        return ""

    def close(self, *, detach: bool = False) -> None:
        """The helper stays, for the next jobs of this process."""
