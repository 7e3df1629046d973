"""What a pass of the script starts from, and what it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.record.tasks.graph import edge_of, leaves
from dominance.record.tasks.weights import Root


def roots_of(outputs: Sequence[Any], gradients: Sequence[Any]) -> list[Root]:
    """What a backward() is called on."""
    return [
        Root(edge_of(output), torch.ones_like(output) if gradient is None else gradient.detach(), output)
        for output, gradient in zip(outputs, gradients, strict=True)
        if isinstance(output, Tensor) and output.requires_grad and output.grad_fn is not None
    ]


def reached_by(roots: Sequence[Root]) -> list[Tensor]:
    """The leaf tensors that a pass from these roots reaches."""
    return leaves([root.edge[0] for root in roots])
