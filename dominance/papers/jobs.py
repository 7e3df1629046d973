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
        named = {
            "architecture": self.architecture,
            "optimizer": self.optimizer,
            "tasks": ",".join(self.tasks) or None,
            "epochs": self.epochs,
            "batch-size": self.batch_size,
            "lr": self.lr,
            "weight-decay": self.weight_decay,
            "milestones": self.milestones,
            "decay": self.decay,
            "lr-power": self.lr_power,
            "warmup": self.warmup,
            "patience": self.patience,
            "last": self.last,
            "every": self.every,
            "budget": self.budget,
            "attribution": self.attribution,
            "probe": self.probe,
        }
        for name, value in named.items():
            if value is not None:
                words += [f"--{name}", str(value)]
        for flag, pairs in (("--set", self.settings), ("--option", self.options)):
            for key, value in pairs.items():
                words += [flag, f"{key}={value}"]
        return words


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
        named = {
            "architecture": self.architecture,
            "optimizer": self.optimizer,
            "batch-size": self.batch_size,
            "sample": self.sample,
            "laps": self.laps,
            "steps": self.steps,
        }
        for name, value in named.items():
            if value is not None:
                words += [f"--{name}", str(value)]
        for key, value in self.settings.items():
            words += ["--set", f"{key}={value}"]
        return words
