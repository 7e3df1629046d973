"""Benchmarks whose splits lie in memory as tensors, with an encoder and a head for each task."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dominance.benchmarks.architectures import build
from dominance.benchmarks.benchmark import Batch, Benchmark
from dominance.benchmarks.splits import minibatches


class InMemory(Benchmark):
    """Subclasses fill ``splits`` in ``load``, and tell what the trunk and the heads are.

    With ``multi_input`` an entry of ``splits`` has inputs {task: inputs} and each task its own number of samples. An
    epoch then has as many batches as its largest task needs. While training, smaller tasks begin again, reshuffled; in
    order (no generator) every sample comes once, and a task that is through is absent.
    """

    splits: dict[str, Batch]

    @abc.abstractmethod
    def encoder(self) -> nn.Module:
        """A fresh trunk: from one task's inputs to (batch, features)."""

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """Size of the shared representation."""

    @abc.abstractmethod
    def head(self, task: str) -> nn.Module:
        """A fresh head: from (batch, features) to the task's output."""

    @property
    def input_size(self) -> int | None:
        """Size of one sample, flattened, if it is one tensor of numbers that a gate can read; None: it is not."""
        return None

    def model(self, architecture: str, tasks: tuple[str, ...]) -> nn.Module:
        """As in the base class."""
        heads = {task: partial(self.head, task) for task in tasks}
        return build(
            architecture, self.encoder, self.features, heads, multi_input=self.multi_input, inputs=self.input_size
        )

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """As in the base class."""
        data = self.splits[split]
        if self.multi_input:
            yield from _each_task_its_own(data, batch_size, generator)
            return
        samples = len(next(iter(data.targets.values())))
        for rows in minibatches(samples, batch_size, generator):
            yield Batch(_rows(data.inputs, rows), {task: target[rows] for task, target in data.targets.items()})


def _rows(inputs: Any, rows: Tensor) -> Any:
    return inputs[rows] if isinstance(inputs, Tensor) else tuple(part[rows] for part in inputs)


def _each_task_its_own(data: Batch, size: int, generator: torch.Generator | None) -> Iterator[Batch]:
    samples = {task: len(target) for task, target in data.targets.items() if len(target)}
    steps = max(-(-count // size) for count in samples.values())
    queues = {task: minibatches(count, size, generator) for task, count in samples.items()}
    for _ in range(steps):
        chosen: dict[str, Tensor] = {}
        for task, count in samples.items():
            rows = next(queues[task], None)
            if rows is None and generator is not None:
                queues[task] = minibatches(count, size, generator)
                rows = next(queues[task])
            if rows is not None:
                chosen[task] = rows
        yield Batch(
            {task: _rows(data.inputs[task], rows) for task, rows in chosen.items()},
            {task: data.targets[task][rows] for task, rows in chosen.items()},
        )
