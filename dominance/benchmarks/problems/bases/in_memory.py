"""Benchmarks whose splits lie in memory as tensors, with an encoder and a head for each task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dominance.benchmarks.benchmark import Batch
from dominance.benchmarks.data.splits import each_task_its_own, minibatches
from dominance.benchmarks.problems.bases.encoder_heads import EncoderHeads


class InMemory(EncoderHeads):
    """Subclasses fill ``splits`` in ``load``, and tell what the trunk and the heads are.

    With ``multi_input`` an entry of ``splits`` has inputs {task: inputs} and each task its own number of samples; see
    ``data.splits.each_task_its_own``.
    """

    splits: dict[str, Batch]

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """As in the base class."""
        data = self.splits[split]
        if self.multi_input:
            sizes = {task: len(target) for task, target in data.targets.items()}
            for own in each_task_its_own(sizes, batch_size, generator):
                yield Batch(
                    {task: _rows(data.inputs[task], rows) for task, rows in own.items()},
                    {task: data.targets[task][rows] for task, rows in own.items()},
                )
            return
        samples = len(next(iter(data.targets.values())))
        for rows in minibatches(samples, batch_size, generator):
            yield Batch(_rows(data.inputs, rows), {task: target[rows] for task, target in data.targets.items()})


def _rows(inputs: Any, rows: Tensor) -> Any:
    return inputs[rows] if isinstance(inputs, Tensor) else tuple(part[rows] for part in inputs)
