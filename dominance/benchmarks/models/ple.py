"""Progressive layered extraction: several levels of experts of all tasks beside experts of each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import activation as activations

from dominance.benchmarks.models.base import Architecture, MakeModule
from dominance.benchmarks.models.experts import Gate, SharedAndOwnExperts
from dominance.errors import BadOption


class Level(nn.Module, SharedAndOwnExperts):
    """Experts of all tasks, experts of each, and their gates.

    Args:
        make_expert: makes one expert, from the level's inputs to (batch, features).
        features: of an expert.
        shared, own: how many experts of all tasks, and of each.
        inputs: see ``Gate``.
        last: nothing comes after this level, so that there is no gate that mixes the experts of all tasks.
    """

    def __init__(
        self,
        tasks: tuple[str, ...],
        make_expert: MakeModule,
        features: int,
        *,
        shared: int,
        own: int,
        inputs: int | None,
        last: bool,
    ) -> None:
        super().__init__()
        self.add_experts(tasks, make_expert, features, shared=shared, own=own, inputs=inputs)
        self.gate = None if last else Gate(shared + own * len(tasks), features, inputs)

    def forward(self, common: Tensor, apart: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Args:
            common: what the shared experts read.
            apart: task -> what its own experts read; tasks may be missing in the last level.

        Returns:
            The mixture of all experts (in the last level ``common`` as it is), and each task's mixture.
        """
        shared, own = self.read(common, apart)
        mixed = self.mixed(apart, shared, own)
        if self.gate is None:
            return common, mixed
        return self.gate(common, [*shared, *(found for each in own.values() for found in each)]), mixed


class PLE(Architecture):
    """``CGC`` in levels: the experts of a level read what the level before has mixed (Tang et al. 2020, Eq. 4-6).

    A task's experts read the mixture of the task, the shared experts one of all experts, and a gate reads what its
    experts read. So all experts but those of the last level that are a task's own are shared.

    The experts of the first level are trunks. Later ones are single layers, (features -> features), with the trunk's
    last activation, ReLU if it has none of ``torch.nn``. The PUB paper has two levels of single layers, with eight
    shared experts and eight of each task (Sec. VI-A2), or four and four (VI-A3).

    Args:
        make_encoder: makes one expert of the first level, from inputs to (batch, features).
        features: of an expert.
        levels: how many.
        shared, own: how many experts of all tasks, and of each, in each level.
        inputs: see ``Gate``; it is of the first level.
        heads, multi_input: see ``Architecture``.

    Raises:
        BadOption: there is no level.
    """

    def __init__(
        self,
        make_encoder: MakeModule,
        features: int,
        heads: Mapping[str, MakeModule],
        *,
        multi_input: bool = False,
        levels: int = 2,
        shared: int = 4,
        own: int = 4,
        inputs: int | None = None,
    ) -> None:
        super().__init__(heads, multi_input=multi_input)
        if levels < 1:
            raise BadOption(f"levels is {levels}", fix="give 1 or more")
        first = Level(self.tasks, make_encoder, features, shared=shared, own=own, inputs=inputs, last=levels == 1)
        after = _activation(first.shared if shared else first.own)

        def make_layer() -> nn.Module:
            return nn.Sequential(nn.Linear(features, features), copy.deepcopy(after))

        self.levels = nn.ModuleList([first])
        for level in range(2, levels + 1):
            self.levels.append(
                Level(self.tasks, make_layer, features, shared=shared, own=own, inputs=features, last=level == levels)
            )

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """Each task's mixture in the last level; the levels before need the experts of all tasks."""
        common, apart = inputs, dict.fromkeys(self.tasks, inputs)
        *before, last = self.levels
        for level in before:
            common, apart = level(common, apart)
        mixed: dict[str, Tensor] = last(common, {task: apart[task] for task in tasks})[1]
        return mixed


def _activation(trunk: nn.Module) -> nn.Module:
    found = [module for module in trunk.modules() if type(module).__module__ == activations.__name__]
    return found[-1] if found else nn.ReLU()
