"""Experts, and the gates that mix them: what MMoE, CGC and PLE are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from dominance.benchmarks.models.base import MakeModule


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


class SharedAndOwnExperts:
    """Experts of all tasks, experts of each, and a gate of each task over both, in a module that calls ``add_experts``.

    Attributes:
        shared: the experts of all tasks.
        own: task -> its experts.
        gates: task -> its gate.
    """

    shared: nn.ModuleList
    own: nn.ModuleDict
    gates: nn.ModuleDict

    def add_experts(
        self,
        tasks: Sequence[str],
        make_expert: MakeModule,
        features: int,
        *,
        shared: int,
        own: int,
        inputs: int | None,
    ) -> None:
        """Fresh ones, made in this order.

        Args:
            features: of an expert.
            shared, own: how many experts of all tasks, and of each.
            inputs: see ``Gate``.
        """
        self.shared = nn.ModuleList([make_expert() for _ in range(shared)])
        self.own = nn.ModuleDict({task: nn.ModuleList([make_expert() for _ in range(own)]) for task in tasks})
        self.gates = nn.ModuleDict({task: Gate(shared + own, features, inputs) for task in tasks})

    def read(self, common: Any, apart: Mapping[str, Any]) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """What the experts find: the shared ones in ``common``, those of a task in what is apart for it."""
        found = [expert(common) for expert in self.shared]
        return found, {task: [expert(inputs) for expert in self._own(task)] for task, inputs in apart.items()}

    def _own(self, task: str) -> nn.ModuleList:
        return cast(nn.ModuleList, self.own[task])

    def mixed(
        self, apart: Mapping[str, Any], shared: list[Tensor], own: Mapping[str, list[Tensor]]
    ) -> dict[str, Tensor]:
        """Each task's mixture of what was found; its gate reads what its experts read."""
        return {task: self.gates[task](inputs, shared + own[task]) for task, inputs in apart.items()}
