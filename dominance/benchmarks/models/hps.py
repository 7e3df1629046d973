"""Hard parameter sharing: one trunk for all tasks, also called shared bottom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dominance.benchmarks.models.base import Architecture, MakeModule, Representation


class HPS(Architecture):
    """One trunk; the heads all read what it puts out (Caruana 1997). All of the trunk is shared.

    Args:
        make_encoder: makes the trunk, from inputs to (batch, features).
        heads, multi_input: see ``Architecture``.
    """

    def __init__(self, make_encoder: MakeModule, heads: Mapping[str, MakeModule], *, multi_input: bool = False) -> None:
        super().__init__(heads, multi_input=multi_input)
        self.trunk = make_encoder()

    def encode(self, inputs: Any) -> Representation:
        """The trunk's features: one tensor; with multi-input tasks, one for each."""
        if not self.multi_input:
            features: Tensor = self.trunk(inputs)
            return features
        return super().encode(inputs)

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """The same features for every task."""
        features = self.trunk(inputs)
        return dict.fromkeys(tasks, features)
