"""What a figure or table needs before it can be made: trainings and timings, as plain descriptions.

Nothing here trains: the command line turns a job into a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dominance.jobs.job import Job as Job

TIMING = "timing.json"
"""What ``dominance.benchmarks.train.timing`` leaves in its folder."""


@dataclass(frozen=True)
class Training:
    """One recorded training, as ``dominance train`` makes it. None: what the benchmark says."""

    benchmark: str
    method: str
    seed: int = 0
    architecture: str | None = None
    optimizer: str | None = None
    tasks: tuple[str, ...] = ()
    """These tasks only; empty: all."""
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    milestones: str | None = None
    decay: float | None = None
    lr_power: float | None = None
    warmup: int | None = None
    patience: int | None = None
    last: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    every: int | None = None
    budget: str | None = None
    attribution: str | None = None
    probe: str | None = None

    module: ClassVar[str] = "dominance"
    can_resume: ClassVar[bool] = True
    fresh: ClassVar[bool] = False

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def name(self) -> str:
        """Benchmark, method, what else was chosen, seed; settings that make it too long stand as eight digits."""
        words = [self.benchmark, self.method, self.architecture or "", "+".join(self.tasks)]
        rest = [part for part in self.arguments()[4:] if part not in ("--architecture", "--tasks")]
        digest = hashlib.sha256(json.dumps(rest).encode()).hexdigest()[:8]
        name = "-".join(word for word in words if word)
        return re.sub(r"[^\w.+-]", "_", f"{name}-s{self.seed}-{digest}")

    def command(self, folder: str) -> list[str]:
        """Its arguments; the outcome replaces what is in ``folder``."""
        return [*self.arguments(), "--force", "-o", folder]

    def arguments(self) -> list[str]:
        """
        >>> Training("digits", "uw", seed=1, settings={"overlays": 100}).arguments()[1:]
        ['digits', '--method', 'uw', '--seed', '1', '--set', 'overlays=100']
        """
        words = ["train", self.benchmark, "--method", self.method, "--seed", str(self.seed)]
        words += _flags(self, "architecture", "optimizer", "tasks", "epochs", "batch_size", "lr", "weight_decay")
        words += _flags(self, "milestones", "decay", "lr_power", "warmup", "patience", "last")
        words += _flags(self, "every", "budget", "attribution", "probe")
        return words + _pairs("--set", self.settings) + _pairs("--option", self.options)


@dataclass(frozen=True)
class Timing:
    """Training steps of several methods timed against each other, in turns in one process. None: the benchmark's own.

    >>> Timing("census", ("equal-weight", "pub:every=10"), architecture="mmoe").arguments()
    ['census', '--method', 'equal-weight', '--method', 'pub:every=10', '--architecture', 'mmoe']
    """

    benchmark: str
    methods: tuple[str, ...]
    """The one that the others are compared with first; options after a colon."""
    architecture: str | None = None
    optimizer: str | None = None
    batch_size: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    sample: str | None = None
    """Size of made-up pictures, such as "64x128", in place of data."""
    laps: int | None = None
    steps: int | None = None

    module: ClassVar[str] = "dominance.benchmarks.train.timing"
    can_resume: ClassVar[bool] = False
    fresh: ClassVar[bool] = False

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def name(self) -> str:
        """Benchmark and architecture; the rest as eight digits."""
        digest = hashlib.sha256(json.dumps(self.arguments()).encode()).hexdigest()[:8]
        words = "-".join(word for word in ("timing", self.benchmark, self.architecture or "") if word)
        return f"{words}-{digest}"

    def command(self, folder: str) -> list[str]:
        """Its arguments; the outcome replaces what is in ``folder``."""
        return [*self.arguments(), "--force", "-o", folder]

    def arguments(self) -> list[str]:
        words = [self.benchmark]
        for method in self.methods:
            words += ["--method", method]
        words += _flags(self, "architecture", "optimizer", "batch_size", "sample", "laps", "steps")
        return words + _pairs("--set", self.settings)


def _flags(job: Any, *names: str) -> list[str]:
    """The options of these names that are not None or empty, with their values."""
    words: list[str] = []
    for name in names:
        value = getattr(job, name)
        if value is not None and value != ():
            words += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    return words


def _pairs(flag: str, pairs: Mapping[str, Any]) -> list[str]:
    return [word for key, value in pairs.items() for word in (flag, f"{key}={value}")]
