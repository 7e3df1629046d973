"""A small network with three heads, and losses of chosen scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

TASKS = ("a", "b", "c")


class Heads(nn.Module):
    """An MLP trunk and one linear head a task."""

    def __init__(self, tasks: Sequence[str] = TASKS, width: int = 6) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(width, 1) for task in tasks})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.trunk(x)
        return {task: head(z) for task, head in self.heads.items()}


class Problem:
    """A network, and batches of data for it, the same for the same seed; torch's global generator is left alone."""

    def __init__(
        self, seed: int = 0, scales: Sequence[float] = (1.0, 10.0, 0.1), dtype: torch.dtype = torch.float32
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = Heads(TASKS[: len(scales)]).to(dtype)
        self.scales = dict(zip(TASKS, scales, strict=False))
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.dtype = dtype
        self.x = self.representation = torch.empty(0)
        self.targets: dict[str, Tensor] = {}
        self.batch()

    def batch(self, size: int = 8) -> None:
        """Draw the next batch."""
        self.x = torch.randn(size, 4, generator=self.generator).to(self.dtype)
        self.targets = {task: torch.randn(size, 1, generator=self.generator).to(self.dtype) for task in self.scales}

    def losses(self, absent: Sequence[str] = ()) -> dict[str, Tensor | None]:
        """Scaled mean squared errors on the batch; None for the absent tasks. Keeps the trunk's ``representation``."""
        self.representation = self.net.trunk(self.x)
        found: dict[str, Tensor | None] = {}
        for task, scale in self.scales.items():
            error = self.net.heads[task](self.representation) - self.targets[task]
            found[task] = None if task in absent else scale * error.square().mean()
        return found

    @property
    def parameters(self) -> list[Tensor]:
        return list(self.net.parameters())

    @property
    def shared(self) -> list[Tensor]:
        return list(self.net.trunk.parameters())

    def flat(self, absent: Sequence[str] = ()) -> Tensor:
        """The gradient of each present task by the shared parameters, flattened, shape (K, N)."""
        losses = [loss for loss in self.losses(absent).values() if loss is not None]
        rows = [torch.autograd.grad(loss, self.shared, retain_graph=True) for loss in losses]
        return torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])


def flat_grad(parameters: Sequence[Tensor]) -> Tensor:
    """All of ``.grad``, flattened; zero where there is none."""
    return torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in parameters])
