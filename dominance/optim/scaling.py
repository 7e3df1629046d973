"""Mixed precision: what a ``torch.amp.GradScaler`` wants of a backward, and methods do not want to see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor


class Scaler(Protocol):
    """``torch.amp.GradScaler``, or what is like it."""

    def scale(self, outputs: Any) -> Any:
        """The tensor, times the scale."""

    def get_scale(self) -> float:
        """The scale."""

    def is_enabled(self) -> bool:
        """Whether it does anything."""


def started(scaler: Scaler | None, loss: Tensor) -> float | None:
    """The scale; None without a scaler, or with one that is not enabled.

    A GradScaler takes its first ``step`` only once it has scaled something: so it scales a loss, to no end.
    """
    if scaler is None or not scaler.is_enabled():
        return None
    scaler.scale(loss.detach())
    return float(scaler.get_scale())


def finite(tensors: Iterable[Tensor | None]) -> bool:
    """Whether all numbers are finite; None is."""
    there = [tensor.detach() for tensor in tensors if tensor is not None and tensor.numel()]
    if not there:
        return True
    largest = torch._foreach_norm(there, float("inf"))
    if len({(one.device, one.dtype) for one in largest}) == 1:
        return bool(torch.stack(largest).isfinite().all())
    return all(bool(one.isfinite()) for one in largest)


def times(row: Sequence[Tensor | None], factor: float) -> list[Tensor | None]:
    """Each tensor times the factor, new tensors; None stays None."""
    there = [tensor for tensor in row if tensor is not None]
    made = iter(torch._foreach_mul(there, factor) if there else ())
    return [None if tensor is None else next(made) for tensor in row]


@contextmanager
def slopes_scaled(learnt: Sequence[Tensor], scale: float | None) -> Iterator[None]:
    """What is added to ``.grad`` of these parameters in this block is multiplied by the scale."""
    if scale is None or not learnt:
        yield
        return
    before = [p.grad for p in learnt]
    for p in learnt:
        p.grad = None
    try:
        yield
    finally:
        for p, old in zip(learnt, before, strict=True):
            if p.grad is None:
                p.grad = old
            else:
                p.grad = p.grad * scale if old is None else old + p.grad * scale


def spoil(parameters: Iterable[Tensor]) -> None:
    """NaN into ``.grad``: the scaler will skip the step, and lower its scale."""
    for p in parameters:
        p.grad = torch.full_like(p, torch.nan)
