"""A benchmark that trains in milliseconds and has what real ones have: dropout, missing labels, absent tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dominance.benchmarks import arguments
from dominance.benchmarks.benchmark import Batch, Benchmark, Metric, Settings, Task
from dominance.benchmarks.models import build
from dominance.benchmarks.problems.registry import benchmark
from dominance.benchmarks.train import checkpoint, plan

BATCHES = 5


class Small(Benchmark):
    """Regression "y" and classification "z" of six numbers.

    Args:
        dropout: in the trunk.
        missing: every other sample has no "y", and every third batch no "z".
        curve: what "y" scores on "val" epoch by epoch, instead of its error; empty: its error.
    """

    name = "small"
    title = "a regression and a classification"
    licence = "none needed: generated"
    source = "generated"
    settings = Settings(epochs=3, batch_size=4, lr=0.01)

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        missing: bool = False,
        curve: tuple[float, ...] = (),
        folder: Path | None = None,
        flavour: str | None = None,
    ) -> None:
        self.dropout, self.missing, self.curve = dropout, missing, list(curve)
        self.folder, self.flavour = folder, flavour

    @property
    def tasks(self) -> tuple[Task, ...]:
        return (
            Task("y", 1, (Metric("mse", higher_is_better=False), Metric("mae", higher_is_better=False))),
            Task("z", 3, (Metric("accuracy", higher_is_better=True),)),
        )

    def load(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.data = {}
        for split, size in (("train", 4 * BATCHES), ("val", 8), ("test", 8)):
            x = torch.randn(size, 6, generator=generator)
            self.data[split] = (x, x.sum(1, keepdim=True) / 3, (x[:, 0] > 0).long() + (x[:, 1] > 0).long())

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        x, y, z = self.data[split]
        order = torch.arange(len(x)) if generator is None else torch.randperm(len(x), generator=generator)
        for number, rows in enumerate(order.split(batch_size)):
            targets = {"y": y[rows].clone(), "z": z[rows]}
            if self.missing:
                targets["y"][::2] = torch.nan
                if number % 3 == 2:
                    del targets["z"]
            yield Batch(x[rows], targets)

    def model(self, architecture: str, tasks: tuple[str, ...]) -> nn.Module:
        heads = {task.name: lambda size=task.outputs: nn.Linear(5, size) for task in self.tasks if task.name in tasks}

        def encoder() -> nn.Module:
            return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Dropout(self.dropout), nn.Linear(7, 5), nn.Tanh())

        return build(architecture, encoder, 5, heads, inputs=6)

    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor | None:
        if task == "z":
            return F.cross_entropy(output, target)
        there = ~torch.isnan(target)
        return F.mse_loss(output[there], target[there]) if there.any() else None

    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        if task == "z":
            return {"accuracy": float((output.argmax(1) == target).float().mean())}
        return {"mse": float(F.mse_loss(output, target)), "mae": float((output - target).abs().mean())}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the name "small" means ``Small``."""

    def found(name: str, **given: Any) -> Benchmark:
        if name != "small":
            return benchmark(name, **given)
        return Small(**arguments.read(given, arguments.arguments(Small), "--set", name))

    monkeypatch.setattr(plan, "benchmark", found)


def state(path: Path) -> dict[str, Any]:
    """The checkpoint, without what it says of the recording."""
    found = checkpoint.load(path)
    del found["record"]
    return found
