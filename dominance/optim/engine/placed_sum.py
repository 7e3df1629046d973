"""The gradient of a function of losses that are placed: first by them, then from their places on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dominance.optim.engine.listeners import listeners, own_passes
from dominance.optim.engine.places import Loss, start_of
from dominance.optim.engine.start import Start


def stand_ins(losses: Mapping[str, Loss]) -> dict[str, Tensor]:
    """Tensors that can be added up: a placed loss is a leaf of its own for now."""
    return {
        task: loss if isinstance(loss, Tensor) else loss.value.clone().requires_grad_() for task, loss in losses.items()
    }


def backward_below(
    losses: Mapping[str, Loss],
    stand_ins: Mapping[str, Tensor],
    total: Tensor,
    inputs: Sequence[Tensor] | None,
    *,
    learnt: Sequence[Tensor],
    retain_graph: bool,
) -> None:
    """``total.backward(inputs=inputs)``, where ``total`` is made of stand-ins for losses that are placed.

    Args:
        inputs: what gets a gradient; None: every leaf.
        learnt: parameters that ``total`` itself is made of.
    """
    with own_passes():
        torch.autograd.backward(total, inputs=[*stand_ins.values(), *learnt])
    weights = {task: leaf.grad for task, leaf in stand_ins.items()}
    starts = [
        Start(start.outputs, [gradient * weight.to(gradient.dtype) for gradient in start.gradients or ()])
        for start, weight in ((start_of(loss), weights[task]) for task, loss in losses.items())
        if weight is not None
    ]
    told = {task: 0.0 if weight is None else float(weight) for task, weight in weights.items()}
    done = [listener.weighted(losses, told, told, inputs or ()) for listener in listeners]
    with own_passes():
        torch.autograd.backward(
            [output for start in starts for output in start.outputs],
            [gradient for start in starts for gradient in start.gradients or ()],
            retain_graph=retain_graph,
            inputs=None if inputs is None else list(inputs),
        )
    for each in done:
        each()
