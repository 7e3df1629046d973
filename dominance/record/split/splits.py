"""One parameter's gradient and step, split into the tasks' parts, and how far the parts sum to the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.compare import nonzero
from dominance.record.rules.pool import Pool


@dataclass
class GradientSplit:
    """One parameter's gradient, as the optimizer is fed it: dense tensors of its shape, which are only read.

    Of a parameter whose gradients are kept by rows they are of the shape of these rows.
    """

    tasks: dict[str, Tensor]
    """Effective gradient of each task that reaches the parameter."""
    residual: Tensor | None = None
    """The part of the gradient that belongs to no task."""
    unexplained: Tensor | None = None
    """The part of the residual that belongs to nothing else that is known either, like a regulariser."""
    total: Tensor | None = None
    """The whole gradient as it was before the step, which may write to ``.grad``; None: what ``.grad`` holds then."""
    reaching: list[str] | None = None
    """The tasks whose gradients are other than zero, where that is known."""

    @property
    def reach(self) -> list[str]:
        """The tasks that reach the parameter, as far as this step shows: all zero says nothing."""
        known = self.reaching
        return [name for name, g in self.tasks.items() if (nonzero(g) if known is None else name in known)]

    def turned(self, into: Callable[[Tensor], Tensor]) -> GradientSplit:
        """The same with this made of every tensor."""
        residual, unexplained, whole = (
            None if each is None else into(each) for each in (self.residual, self.unexplained, self.total)
        )
        return GradientSplit({name: into(each) for name, each in self.tasks.items()}, residual, unexplained, whole)


@dataclass
class StepSplit:
    """One parameter's step, split. Tensors have its shape and dtype (float32 for half precision); None is exactly zero.

    Where it is of some rows, tensors have the shape of these.
    Where the step was not split additively (``closure`` is nan), only ``total`` and ``solo`` mean anything.
    """

    total: Tensor
    """The step really taken: theta after minus theta before."""
    tasks: dict[str, Tensor] = field(default_factory=dict)
    """Additive update of each task, also of one whose earlier gradients still move the parameter by momentum."""
    residual: Tensor | None = None
    unattributed: Tensor | None = None
    """Moved by momentum from before the burst."""
    decay: Tensor | None = None
    """Weight decay, coupled (with its own momentum) and decoupled."""
    outside: Tensor | None = None
    """A pull inside the step towards weights that the optimizer keeps beside the model's (Lookahead's slow weights)."""
    solo: dict[str, Tensor] = field(default_factory=dict)
    """f(g): the step the optimizer would take from the task's gradient alone, its state held fixed (PUB, Table II).

    NaN where it cannot be computed; ``Attributor.note`` says why.
    """
    closure: float = math.nan
    """max |sum of the parts - total| / max |total|."""
    rounding: float = math.nan
    """What the closure can be expected to be by the rounding of theta alone: its spacing / max |total|."""
    sizes: Tensor | None = None
    """Of a step on a device that is waited for: what the closure and the rounding are made of (``Sizes``), on it."""
    place: slice | None = None
    """Which coordinates it is of, of the parameter laid flat, where a large one comes in tiles; None: of all.

    The closure and the rounding are then those of the tiles up to this one.
    """
    rows: Tensor | None = None
    """The rows of the parameter that it is of, in order, where the gradient holds only these; None: all."""
    whole: Tensor | None = None
    """Theta before the step, where all else is at the kept coordinates alone; None: it is of all coordinates."""


@dataclass
class Sizes:
    """The largest entries of a step, of the error of the sum of its parts, and of theta; over several tiles."""

    largest: float = 0.0
    off: float = 0.0
    theta: float = 0.0

    def closure(self, eps: float) -> tuple[float, float]:
        """The error, and the spacing of theta (its size times ``eps``), over the step."""
        spacing = self.theta * eps
        if self.largest == 0:  # nothing moved: the parts cancel, or are below the spacing of theta
            return (0.0, math.inf if spacing else 0.0) if self.off <= spacing else (math.inf, math.inf)
        return self.off / self.largest, spacing / self.largest

    @staticmethod
    def measured(split: StepSplit, theta: Tensor, room: Pool) -> Tensor:
        """The three of a step that starts from this theta, where it is: no device is waited for."""
        of = (split.total, _error(split, room), theta)
        return torch.stack([tensor.abs().amax() for tensor in of]) if theta.numel() else theta.new_zeros(3)

    def take(self, split: StepSplit, theta: Tensor, room: Pool) -> Sizes:
        """Take in the split of a step that starts from this theta."""
        found = map(_size, (split.total, _error(split, room), theta))
        # NaN, once there, stays.
        sizes = [a if a != a or a > b else b for a, b in zip((self.largest, self.off, self.theta), found, strict=True)]
        self.largest, self.off, self.theta = sizes
        return self


def _size(tensor: Tensor) -> float:
    low, high = torch.aminmax(tensor)
    return max(-low.item(), high.item())


def closure_of(split: StepSplit, theta: Tensor, eps: float, room: Pool) -> tuple[float, float]:
    """Largest error of the sum of the parts, and the spacing of theta (size times ``eps``), over the largest step."""
    if split.total.numel() == 0:
        return 0.0, 0.0
    return Sizes().take(split, theta, room).closure(eps)


def _error(split: StepSplit, room: Pool) -> Tensor:
    parts = (*split.tasks.values(), split.residual, split.unattributed, split.decay, split.outside)
    given = [part for part in parts if part is not None]
    error = room.take(split.total)
    if given:
        torch.sub(given[0], split.total, out=error)
    else:
        torch.neg(split.total, out=error)
    for part in given[1:]:
        error.add_(part)
    return error
