"""Per-task gradients of the shared parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.record.graph import Edge
from dominance.record.hooks import dense


def task_gradients(
    edges: Sequence[Edge], weights: Sequence[Tensor], parameters: Sequence[Tensor]
) -> list[Tensor | None]:
    """Effective gradient of one task: the derivative of the sum of its weighted terms.

    The graph is kept for the script's own backward pass.

    Args:
        edges: the task's terms.
        weights: the derivative of the loss by each term, of the term's shape.
        parameters: leaf tensors that need gradient.

    Returns:
        One dense tensor for each parameter (float32 for half precision), None where the task does not reach it.
    """
    outputs = [GradientEdge(*edge) for edge in edges]
    found: Sequence[Tensor | None]
    try:
        found = torch.autograd.grad(outputs, list(parameters), list(weights), retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "checkpoint" not in str(error):
            raise
        # A re-entrant checkpoint refuses autograd.grad: it runs a backward() of its own that fills .grad.
        found = _by_accumulation(outputs, weights, parameters)
    return [None if gradient is None else dense(gradient) for gradient in found]


def _by_accumulation(
    outputs: Sequence[GradientEdge], weights: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    held = [(p, p.grad, p._post_accumulate_grad_hooks) for p in parameters]
    try:
        for p, _, hooks in held:
            p.grad = None
            if hooks:
                p._post_accumulate_grad_hooks = None  # type: ignore[assignment]
        torch.autograd.backward(outputs, list(weights), retain_graph=True)
        return tuple(p.grad for p in parameters)
    finally:
        for p, gradient, hooks in held:
            p.grad = gradient
            if hooks:
                p._post_accumulate_grad_hooks = hooks
