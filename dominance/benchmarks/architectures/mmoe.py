"""Multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dominance.benchmarks.architectures.base import Architecture, MakeModule


class Gate(nn.Module):
    """softmax(W x): how much of each expert.

    Args:
        experts: how many.
        features: of what an expert puts out.
        inputs: size of one sample; None: the gate cannot read the inputs as they are (numbers of words or items,
            pictures), and reads the mean of its experts' features instead; of maps, their means.
    """

    def __init__(self, experts: int, features: int, inputs: int | None) -> None:
        super().__init__()
        self.linear = nn.Linear(features if inputs is None else inputs, experts, bias=False)
        self.reads_inputs = inputs is not None

    def forward(self, inputs: Any, found: Sequence[Tensor]) -> Tensor:
        """The mixture of what the experts have found, (batch, features) or maps, (batch, features, height, width)."""
        stacked = torch.stack(list(found), dim=1)  # (batch, experts, features, ...)
        read = inputs.flatten(1) if self.reads_inputs else _mean(stacked)
        share = torch.softmax(self.linear(read), dim=1)
        return (share.reshape(*share.shape, *[1] * (stacked.dim() - 2)) * stacked).sum(dim=1)


def _mean(stacked: Tensor) -> Tensor:
    """Over the experts, and over the places of maps: (batch, features)."""
    mean = stacked.mean(dim=1)
    return mean.flatten(2).mean(dim=2) if mean.dim() > 2 else mean


class MMoE(Architecture):
    """Experts that all tasks share, and for each task a gate that mixes them (Ma et al. 2018, Eq. 5-7).

    The experts are shared; a gate is its task's own.

    Args:
        make_encoder: makes one expert, from inputs to (batch, features).
        features: of an expert.
        experts: how many. Eight, as in the PUB paper (Sec. VI-A).
        inputs: see ``Gate``.
        heads, multi_input: see ``Architecture``.
    """

    def __init__(
        self,
        make_encoder: MakeModule,
        features: int,
        heads: Mapping[str, MakeModule],
        *,
        multi_input: bool = False,
        experts: int = 8,
        inputs: int | None = None,
    ) -> None:
        super().__init__(heads, multi_input=multi_input)
        self.experts = nn.ModuleList([make_encoder() for _ in range(experts)])
        self.gates = nn.ModuleDict({task: Gate(experts, features, inputs) for task in self.tasks})

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """Each task's mixture of the experts."""
        found = [expert(inputs) for expert in self.experts]
        return {task: self.gates[task](inputs, found) for task in tasks}
