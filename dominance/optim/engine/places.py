"""A loss whose tensor nobody holds: its value, and the places in the graph at which its gradient enters.

Where a program adds its losses up inside a function, what is left of each is a node of the graph. Methods take such a
loss like the tensor that it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dominance.optim.engine.start import Start


@dataclass(frozen=True)
class Placed:
    """One loss.

    Attributes:
        value: 0-dim, needs no gradient.
        start: where its gradient enters, and what enters there.
    """

    value: Tensor
    start: Start

    def detach(self) -> Tensor:
        """The value."""
        return self.value


Loss = Tensor | Placed
"""What ``backward`` of combiners and task-wise optimizers takes for each task."""


def start_of(loss: Loss, scale: float = 1.0) -> Start:
    """What the gradient of this loss times ``scale`` is taken of."""
    if isinstance(loss, Tensor):
        if scale != 1:
            with torch.enable_grad():
                loss = loss * scale
        return Start([loss])
    if scale == 1:
        return loss.start
    given = loss.start.gradients or [torch.ones_like(loss.value)] * len(loss.start.outputs)
    return replace(loss.start, gradients=[gradient * scale for gradient in given])


def tensors(losses: Mapping[str, Loss]) -> dict[str, Tensor]:
    """The losses, all of which must be tensors.

    Raises:
        TypeError: one is placed.
    """
    found = {task: loss for task, loss in losses.items() if isinstance(loss, Tensor)}
    if len(found) < len(losses):
        raise TypeError("with a representation the losses must be tensors, not places in the graph")
    return found


def are_placed(losses: Iterable[Loss]) -> bool:
    """Whether all of them are.

    Raises:
        TypeError: some are, and others are tensors.
    """
    kinds = {isinstance(loss, Placed) for loss in losses}
    if len(kinds) > 1:
        raise TypeError("some losses are tensors and others are places in the graph; give one kind")
    return kinds == {True}
