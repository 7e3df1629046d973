"""What runs jobs somewhere: the little that the loop asks of an engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dominance.jobs.job import Answer, Job, Request

_CARRIED = ("DOMINANCE_", "OMP_NUM_THREADS")
"""Beginnings of variables of the caller that reach a worker elsewhere; the others are the worker's own."""


@dataclass
class Running:
    """A job that an engine was given.

    Attributes:
        attempt: which one of this job, from 0.
        ended: to be called once, from any thread.
        handle: the engine's own.
        began: when the engine was given it, as ``time.monotonic`` says.
    """

    job: Job
    told: Request
    attempt: int
    ended: Callable[[Answer], None]
    handle: Any = None
    began: float = field(default_factory=time.monotonic)


class Engine(Protocol):
    """Where jobs run."""

    can_detach: bool
    """Whether jobs go on when the caller leaves."""

    @property
    def at_once(self) -> int:
        """How many jobs it wants to be given before the first of them has ended."""

    @property
    def workers(self) -> int:
        """How many of these run at the same time."""

    def check(self, folder: Path, versions: Mapping[str, str] | None) -> None:
        """See before anything begins whether the workers are fit.

        Args:
            folder: of the outcomes, which is there.
            versions: that they must have; None: any.

        Raises:
            BadOption: they have others, or do not see the folder.
        """

    def start(self, some: Sequence[Running]) -> None:
        """Begin them, or have them begin when there is room."""

    def interrupt(self, some: Sequence[Running]) -> None:
        """Tell them to keep a checkpoint and to end; those that have not begun never will."""

    def lost(self) -> str:
        """Why it will not answer any more; "" while it does."""

    def close(self, *, detach: bool = False) -> None:
        """Let go of it. With ``detach`` what was started goes on."""


def carried() -> dict[str, str]:
    """Variables of this process that a worker elsewhere is given."""
    return {name: value for name, value in os.environ.items() if name.startswith(_CARRIED)}
