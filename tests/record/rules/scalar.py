"""One scalar parameter under two tasks "a" and "b": what a split can be worked out for by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

THETA = 1.5
GRADIENTS = [(2.0, -0.5), (-0.1, 0.3), (0.0, 0.2)]
"""Of tasks a and b, at three steps."""


def recorded_parts(make: Callable[[list[Tensor]], Optimizer]) -> list[dict[str, float]]:
    """Parts "a", "b" and "decay" of the step, at each of the steps of GRADIENTS."""
    p = torch.tensor([THETA], dtype=torch.float64, requires_grad=True)
    attributor = Attributor(make([p]))
    made = []
    for gradients in GRADIENTS:
        a, b = torch.tensor(gradients, dtype=torch.float64).unsqueeze(1)
        p.grad = a + b
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit({"a": a, "b": b})})[p]
        decay = 0.0 if split.decay is None else split.decay.item()
        made.append({"a": split.tasks["a"].item(), "b": split.tasks["b"].item(), "decay": decay})
    return made


def worked(step: Callable[[int, float, dict[str, float]], dict[str, float]]) -> list[dict[str, float]]:
    """The same by hand: ``step(t, theta, gradients)`` gives the parts, and theta moves by their sum."""
    theta, made = THETA, []
    for t, (a, b) in enumerate(GRADIENTS, start=1):
        made.append({"decay": 0.0, **step(t, theta, {"a": a, "b": b})})
        theta += sum(made[-1].values())
    return made


def assert_equal(one: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> None:
    for mine, yours in zip(one, other, strict=True):
        assert mine.keys() == yours.keys()
        for part in mine:
            assert abs(mine[part] - yours[part]) <= 1e-12 * max(abs(mine[part]), abs(yours[part])), (part, mine, yours)
