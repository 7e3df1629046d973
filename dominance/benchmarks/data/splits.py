"""Random numbers, splits and mini-batches of the benchmarks: own generators only, the global one is left alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def derived_generator(seed: int, purpose: str) -> torch.Generator:
    """A generator for one purpose.

    Two purposes share no numbers under one seed: generators seeded alike would make the training data out of the very
    numbers that made the test data.
    """
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def split_rows(samples: int, shares: Mapping[str, float], generator: torch.Generator) -> dict[str, Tensor]:
    """A random partition of the rows 0 .. samples - 1; the last split takes what rounding leaves.

    >>> rows = split_rows(10, {"train": 0.8, "val": 0.1, "test": 0.1}, torch.Generator().manual_seed(0))
    >>> [len(rows[split]) for split in rows]
    [8, 1, 1]
    """
    order = torch.randperm(samples, generator=generator)
    total, begin, taken, found = sum(shares.values()), 0, 0.0, {}
    for split, part in shares.items():
        taken += part
        end = round(samples * taken / total)
        found[split] = order[begin:end]
        begin = end
    return found


def minibatches(samples: int, size: int, generator: torch.Generator | None) -> Iterator[Tensor]:
    """The rows of one epoch, each once: shuffled by the generator if there is one. The last batch may be smaller."""
    order = torch.arange(samples) if generator is None else torch.randperm(samples, generator=generator)
    yield from torch.split(order, size)


def each_task_its_own(
    samples: Mapping[str, int], size: int, generator: torch.Generator | None
) -> Iterator[dict[str, Tensor]]:
    """The rows of one epoch, task by task, where each has samples of its own.

    An epoch has as many batches as its largest task needs. While training, smaller tasks begin again, reshuffled; in
    order (no generator) every sample comes once, and a task that is through is absent. One without samples always is.

    >>> [{task: len(rows) for task, rows in own.items()} for own in each_task_its_own({"a": 3, "b": 1}, 2, None)]
    [{'a': 2, 'b': 1}, {'a': 1}]
    """
    there = {task: count for task, count in samples.items() if count}
    queues = {task: minibatches(count, size, generator) for task, count in there.items()}
    for _ in range(max((-(-count // size) for count in there.values()), default=0)):
        chosen: dict[str, Tensor] = {}
        for task, count in there.items():
            rows = next(queues[task], None)
            if rows is None and generator is not None:
                queues[task] = minibatches(count, size, generator)
                rows = next(queues[task])
            if rows is not None:
                chosen[task] = rows
        yield chosen
