"""Customized gate control: experts of all tasks beside experts of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dominance.benchmarks.models.base import Architecture, MakeModule
from dominance.benchmarks.models.experts import SharedAndOwnExperts


class CGC(Architecture, SharedAndOwnExperts):
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
        self.add_experts(self.tasks, make_encoder, features, shared=shared, own=own, inputs=inputs)

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """Each task's mixture of the shared experts and its own."""
        apart = dict.fromkeys(tasks, inputs)
        return self.mixed(apart, *self.read(inputs, apart))
