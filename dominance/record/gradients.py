"""Per-task gradients of the shared parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.record.graph import Edge, leaves, walk
from dominance.record.hooks import dense

_CHECKPOINT = "CheckpointFunctionBackward"


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
    nodes = [node for node, _ in edges]
    found: Sequence[Tensor | None]
    try:
        found = torch.autograd.grad(outputs, list(parameters), list(weights), retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "checkpoint" not in str(error):
            raise
        # A re-entrant checkpoint refuses autograd.grad: it runs a backward() of its own that fills .grad.
        found = _by_accumulation(outputs, weights, parameters, leaves(nodes))
    else:
        # One that no parameter lies below is passed over without a word, and the parameters inside it with it.
        if any(g is None for g in found) and any(node.name() == _CHECKPOINT for node in walk(nodes)):
            found = _by_accumulation(outputs, weights, parameters, leaves(nodes))
    return [None if gradient is None else dense(gradient) for gradient in found]


def _by_accumulation(
    outputs: Sequence[GradientEdge], weights: Sequence[Tensor], parameters: Sequence[Tensor], beside: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """``beside`` are other leaves that the pass reaches, like an input that was told to need gradient."""
    reached = {id(p): p for p in (*parameters, *beside)}.values()
    held = [(p, p.grad) for p in reached]
    # Emptied and filled again: autograd keeps the dict itself.
    hooks = [(h, dict(h)) for h in (p._post_accumulate_grad_hooks for p in reached) if h]
    try:
        for p, _ in held:
            p.grad = None
        for kept, _ in hooks:
            kept.clear()
        torch.autograd.backward(outputs, list(weights), retain_graph=True)
        return tuple(p.grad for p in parameters)
    finally:
        for p, gradient in held:
            p.grad = gradient
        for kept, before in hooks:
            kept.update(before)
