"""Small planted data: three tasks that a shared trunk can learn, the second ten times as loud as the first."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rows(count: int = 320, features: int = 10) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, a class of three, a value, a flag."""
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(count, features, generator=generator)
    w = torch.randn(features, 5, generator=generator)
    return x, (x @ w[:, :3]).argmax(1), 3 * (x @ w[:, 3]), (x @ w[:, 4] > 0).float()


class Net(nn.Module):
    """A trunk with two heads."""

    def __init__(self, features: int = 10, width: int = 16) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(features, width), nn.ELU(), nn.Linear(width, width), nn.ELU())
        self.kind = nn.Linear(width, 3)
        self.value = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x)
        return self.kind(hidden), self.value(hidden)[:, 0]
