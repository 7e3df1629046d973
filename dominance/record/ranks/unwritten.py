"""In the place of a writer where another process writes the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Unwritten:
    """Takes rows as a ``RunWriter`` does, and keeps none."""

    failed = False
    spent = 0.0

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.busy = 0.0

    def append(self, values: Mapping[str, Any]) -> bool:
        """Whether the row fits into the budget: that is not for this process to say."""
        return True

    def append_event(self, event: Mapping[str, Any]) -> None:
        """Metrics of this process alone."""

    def grow_tasks(self, tasks: Sequence[str]) -> None:
        """More tasks came up."""
        self.tasks += tasks

    def set_attrs(self, **attrs: Any) -> None:
        """What is known of the run."""

    def flush(self) -> None:
        """There is nothing to be written."""

    def close(self, *, complete: bool) -> None:
        """There is nothing to be ended."""
