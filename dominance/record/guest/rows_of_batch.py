"""Gradients taken in one batched call, by torch.vmap or ``is_grads_batched``: the rows of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dominance.record.guest import torch_internals as internals

BatchRow = list[Tensor | None]


@dataclass
class RunningBatch:
    """The batch of the call that is going on: its size, and what each row of it starts from."""

    rows: list[BatchRow]
    legacy: bool
    """Whether it is that of ``is_grads_batched``, which has a vmap of its own."""

    def of(self, result: Sequence[Tensor | None]) -> list[BatchRow]:
        """What each row comes to, one tensor for each input."""
        size = len(self.rows)
        whole = [None if each is None else _physical(each, size, legacy=self.legacy) for each in result]
        return [[None if each is None else each[i] for each in whole] for i in range(size)]


def batch_of(outputs: Sequence[Any], gradients: Sequence[Any]) -> RunningBatch | None:
    """The rows of a batched call; None where it is nested, or inside another transform of torch.func."""
    given = [g for g in gradients if isinstance(g, Tensor)]
    if len(given) < len(gradients) or any(_wrapped(o) for o in outputs if isinstance(o, Tensor)):
        return None
    legacy = any(internals.legacy_batched(g) for g in given)
    level = internals.functorch_level()
    if not given or (level is not None and (legacy or level != 1)):
        return None
    known = [internals.legacy_batched(g) if legacy else internals.functorch_batched(g) for g in given]
    if not any(known):
        return None
    with outside():
        size = _physical(given[known.index(True)], 1, legacy=legacy).shape[0]
        whole = [_physical(g, size, legacy=legacy) for g in given]
        if any(_wrapped(each) for each in whole):
            return None
        return RunningBatch([[each[i] for each in whole] for i in range(size)], legacy)


def outside() -> AbstractContextManager[Any]:
    """What is computed inside is no part of the batched call."""
    context: AbstractContextManager[Any] = internals.outside_transforms()
    return context


def _physical(tensor: Tensor, size: int, *, legacy: bool) -> Tensor:
    if legacy:
        plain: Tensor = internals.remove_batch_dimension(tensor, 1, size, 0)
        return plain.detach()
    if not internals.functorch_batched(tensor):
        return tensor.detach().expand(size, *tensor.shape)
    plain = internals.unwrapped(tensor)
    return plain.movedim(internals.batch_dimension(tensor), 0).detach()


def _wrapped(tensor: Tensor) -> bool:
    return bool(internals.functorch_wrapped(tensor) or internals.legacy_batched(tensor))
