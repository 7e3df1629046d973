"""Mixed precision: what a ``torch.amp.GradScaler`` wants of a backward, and methods do not want to see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from dominance.optim.engine.task_gradients import Loss

Made = TypeVar("Made")


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


def at_scale(
    scaler: Scaler,
    take: Callable[[float | None], Made | None],
    losses: Mapping[str, Loss],
    parameters: Sequence[Tensor],
    learnt: Sequence[Tensor],
) -> Made | None:
    """What ``take`` makes at the scaler's scale; None where that is not finite, and the scaler is to skip the step.

    Args:
        take: given the scale; None: something is not finite.
        losses: one of them starts the scaler.
        learnt: parameters whose ``.grad`` it adds to by itself.
    """
    scale = started(scaler, next(iter(losses.values())).detach())
    with slopes_scaled(learnt, scale):
        made = take(scale)
    if made is None:
        spoil([*parameters, *learnt])
    return made


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
