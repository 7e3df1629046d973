"""Customized gate control: experts of all tasks beside experts of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dominance.benchmarks.architectures.base import Architecture, MakeModule
from dominance.benchmarks.architectures.mmoe import Gate


class CGC(Architecture):
    """A task's gate mixes the experts that all tasks share with the task's own (Tang et al. 2020, Eq. 1-3).

    Shared experts are shared; own experts and gates are their task's. It is ``PLE`` with one level of extraction.

    Args:
        make_encoder: makes one expert, from inputs to (batch, features).
        features: of an expert.
        shared, own: how many experts of all tasks, and of each. Four and four, as in the PUB paper (Sec. VI-A).
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
        shared: int = 4,
        own: int = 4,
        inputs: int | None = None,
    ) -> None:
        super().__init__(heads, multi_input=multi_input)
        self.shared = nn.ModuleList([make_encoder() for _ in range(shared)])
        self.own = nn.ModuleDict({t: nn.ModuleList([make_encoder() for _ in range(own)]) for t in self.tasks})
        self.gates = nn.ModuleDict({task: Gate(shared + own, features, inputs) for task in self.tasks})

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """Each task's mixture of the shared experts and its own."""
        shared = [expert(inputs) for expert in self.shared]
        own = {task: [expert(inputs) for expert in self._own(task)] for task in tasks}
        return {task: self.gates[task](inputs, shared + own[task]) for task in tasks}

    def _own(self, task: str) -> nn.ModuleList:
        experts = self.own[task]
        assert isinstance(experts, nn.ModuleList)
        return experts
