"""Two optimizers side by side on the same gradients: one task for the task-wise one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.optim import TaskGradients
from dominance.optim.engine.taskwise import TaskwiseOptimizer

Named = list[tuple[str, Tensor]]


def same_steps(
    ours: Callable[[Named], TaskwiseOptimizer],
    theirs: Callable[[Named], Optimizer],
    dtype: torch.dtype,
    steps: int = 1000,
) -> None:
    """The parameters are equal to the bit after every twentieth step."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (5, 3), "b.weight": (17,)}
    first = [
        (name, torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()) for name, shape in shapes.items()
    ]
    second = [(name, p.detach().clone().requires_grad_()) for name, p in first]
    mine, parent = ours(first), theirs(second)
    parameters = tuple(p for _, p in first)
    for step in range(steps):
        row: list[Tensor | None] = []
        for (_, p), (_, q) in zip(first, second, strict=True):
            # a common part, and one that would differ if the parameters did
            g = torch.randn(p.shape, generator=generator, dtype=dtype)
            row.append(g + 0.1 * p.detach())
            q.grad = g + 0.1 * q.detach()
        mine.step(TaskGradients(("only",), parameters, [row], (torch.tensor(0.0),), (True,) * len(row)))
        parent.step()
        if step % 20 == 19:
            for (_, p), (_, q) in zip(first, second, strict=True):
                assert torch.equal(p, q), f"step {step}: {(p - q).abs().max()}"
