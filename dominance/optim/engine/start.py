"""What the gradient of a task is taken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Node = Any
"""``torch.autograd.graph.Node``: the C++ nodes are not instances of it, so the type says nothing to a checker."""
Edge = tuple[Node, int]
"""A node and which of its outputs."""


@dataclass(frozen=True)
class Start:
    """Scalar losses, or any places in the graph with the gradients that enter there; one task may have several.

    Attributes:
        outputs: tensors, or ``GradientEdge``.
        gradients: of each output's shape; None: the outputs are scalars, and these are ones.
        flat: whether it is known that nothing below is re-entrant checkpointing; else the graph is looked through.
    """

    outputs: Sequence[Any]
    gradients: Sequence[Tensor] | None = None
    flat: bool = False

    @property
    def edges(self) -> list[Edge]:
        """Of each output; the node of a leaf tensor is None."""
        return [(o.grad_fn if isinstance(o, Tensor) else o.node, o.output_nr) for o in self.outputs]
