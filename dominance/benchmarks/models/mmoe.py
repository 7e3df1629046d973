"""Multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dominance.benchmarks.models.base import Architecture, MakeModule
from dominance.benchmarks.models.experts import Gate


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
