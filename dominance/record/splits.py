"""One parameter's gradient and step, split into the tasks' parts, and how far the parts sum to the step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.rules.pool import Pool


@dataclass
class GradientSplit:
    """One parameter's gradient, as the optimizer is fed it: dense tensors of its shape, which are only read."""

    tasks: dict[str, Tensor]
    """Effective gradient of each task that reaches the parameter."""
    residual: Tensor | None = None
    """The part of the gradient that belongs to no task."""
    unexplained: Tensor | None = None
    """The part of the residual that belongs to nothing else that is known either, like a regulariser."""
    total: Tensor | None = None
    """The whole gradient as it was before the step, which may write to ``.grad``; None: what ``.grad`` holds then."""


@dataclass
class StepSplit:
    """One parameter's step, split. Tensors have its shape and dtype (float32 for half precision); None is exactly zero.

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


def closure_of(split: StepSplit, theta: Tensor, eps: float, room: Pool) -> tuple[float, float]:
    """Largest error of the sum of the parts, and the spacing of theta (size times ``eps``), over the largest step."""
    if split.total.numel() == 0:
        return 0.0, 0.0
    parts = (*split.tasks.values(), split.residual, split.unattributed, split.decay, split.outside)
    given = [part for part in parts if part is not None]
    error = room.take(split.total)
    if given:
        torch.sub(given[0], split.total, out=error)
    else:
        torch.neg(split.total, out=error)
    for part in given[1:]:
        error.add_(part)
    largest, off, size = (
        max(-low.item(), high.item()) for low, high in map(torch.aminmax, (split.total, error, theta))
    )
    spacing = size * eps
    if largest == 0:  # nothing moved: the parts cancel, or are below the spacing of theta
        return (0.0, math.inf if spacing else 0.0) if off <= spacing else (math.inf, math.inf)
    return off / largest, spacing / largest
