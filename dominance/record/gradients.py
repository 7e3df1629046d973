"""Per-task gradients of the shared parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.record.graph import Edge, leaves, walk
from dominance.record.hooks import dense
from dominance.record.limits import CannotLook
from dominance.record.silence import gathering
from dominance.record.tasks import FoundTask

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
    if any(node.name() == _CHECKPOINT for node in walk(nodes)):
        # A re-entrant checkpoint refuses autograd.grad: it runs a backward() of its own that fills .grad. One that no
        # parameter lies below would be passed over without a word, and the parameters inside it with it.
        found = _by_accumulation(outputs, weights, parameters, leaves(nodes))
    else:
        found = torch.autograd.grad(outputs, list(parameters), list(weights), retain_graph=True, allow_unused=True)
    return [None if gradient is None else dense(gradient) for gradient in found]


def gradients_of(tasks: Sequence[FoundTask], parameters: Sequence[Tensor]) -> dict[str, dict[Tensor, Tensor]]:
    """The same of several tasks, by name, and by parameter that a task reaches; what two of one name give is added."""
    taken: dict[str, dict[Tensor, Tensor]] = {}
    for task in tasks:
        per_parameter = task_gradients(task.edges, task.gradients, parameters)
        held = taken.setdefault(task.name, {})
        for p, gradient in zip(parameters, per_parameter, strict=True):
            if gradient is not None:
                held[p] = held[p] + gradient if p in held else gradient
    return taken


def _by_accumulation(
    outputs: Sequence[GradientEdge], weights: Sequence[Tensor], parameters: Sequence[Tensor], beside: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """``beside`` are other leaves that the pass reaches, like an input that was told to need gradient."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise CannotLook("a re-entrant checkpoint fills .grad, at which other processes may be waiting to average it")
    with gathering() as leaves_held:
        leaves_held.hold([*parameters, *beside])
        torch.autograd.backward(outputs, list(weights), retain_graph=True)
        return tuple(p.grad for p in parameters)
