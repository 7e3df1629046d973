"""Mixed precision: what a ``torch.amp.GradScaler`` wants of a backward, and methods do not want to see."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors

SMALL = 8_192
"""Tensors of fewer numbers are copied side by side before they are summed: that is faster than a call for each."""


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
    """Whether all numbers are finite; None is.

    Their sum tells, unless it overflows itself: then each number is looked at.
    """
    there = [tensor.detach() for tensor in tensors if tensor is not None and tensor.numel()]
    together: dict[Any, list[Tensor]] = {}
    for i, tensor in enumerate(there):
        key = (tensor.device, tensor.dtype) if tensor.numel() < SMALL else i
        together.setdefault(key, []).append(tensor)
    sums = [
        (_flatten_dense_tensors(some) if len(some) > 1 else some[0]).sum()  # type: ignore[no-untyped-call]
        for some in together.values()
    ]
    same = len({(one.device, one.dtype) for one in sums}) == 1
    values: list[float] = torch.stack(sums).tolist() if same else [float(one) for one in sums]
    return math.isfinite(sum(values)) or all(bool(tensor.isfinite().all()) for tensor in there)


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
