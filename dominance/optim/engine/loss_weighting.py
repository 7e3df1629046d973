"""Weightings that need the losses alone: one plain backward pass of their weighted sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from dominance.optim.engine.combiner import MatrixMixture, Mixture, Weighting, broken
from dominance.optim.engine.gradients import leaves, listeners, own_passes, present, reentrant
from dominance.optim.engine.task_gradients import (
    Loss,
    Matrix,
    Placed,
    Start,
    TaskGradients,
    finite,
    start_of,
    values_of,
)

if TYPE_CHECKING:
    from dominance.optim.engine.representation import Representation
    from dominance.optim.engine.scaling import Scaler


class LossWeighting(Weighting):
    """A weighting that needs no gradients: one plain backward pass of the weighted sum of the losses."""

    heads = "weighted"
    flat = False
    """Whether the next losses are known to have no re-entrant checkpointing below; else it is looked for."""

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Weights of the tasks, shape (K,), float64, from their losses, shape (K,)."""
        raise NotImplementedError

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The loss weights; the Gram matrix is not used."""
        return self.loss_weights(losses, tasks)

    def mix(self, gradients: TaskGradients) -> Mixture:
        """As ever, without the Gram matrix, which is not needed."""
        matrix = np.diag(self.loss_weights(gradients.loss_values(), gradients.tasks))
        return MatrixMixture(gradients, matrix, self.head_weights(matrix, gradients.tasks))

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The scalar that is differentiated: the weighted sum of the losses."""
        weights = self.loss_weights(values_of(list(losses.values())), tuple(losses))
        return torch.stack(
            [loss.reshape(()) * float(w) for loss, w in zip(losses.values(), weights, strict=True)]
        ).sum()

    def backward(
        self,
        losses: Mapping[str, Loss | None],
        parameters: Iterable[Tensor] | nn.Module,
        *,
        representation: Representation | None = None,
        scaler: Scaler | None = None,
        retain_graph: bool = False,
    ) -> None:
        """As ``Combiner.backward``, in one backward pass; ``representation`` makes no difference here.

        Losses must be finite. Gradients are not looked at without a scaler, as by ``loss.backward()``. Where the graph
        has reentrant checkpointing, all its leaves get their gradient, not these parameters alone.
        """
        wanted, found = leaves(parameters), present(losses)
        flat, self.flat = self.flat, False
        learnt = [p for p in self.parameters() if p.requires_grad]
        fed = [*wanted, *learnt]
        scale = None
        if scaler is not None:
            from dominance.optim.engine.scaling import started

            scale = started(scaler, next(iter(found.values())).detach())
        bad = broken(values_of([loss.detach() for loss in found.values()]), tuple(found))
        if bad and scale is None:
            raise FloatingPointError(f"the loss of {', '.join(bad)} is not finite; no weights can be found")
        if bad:
            from dominance.optim.engine.scaling import spoil

            spoil(fed)
            return
        before = {} if scale is None else self.kept()
        instead = stand_ins(found)
        if not (placed := are_placed(found.values())):
            for listener in listeners:
                listener.observe(instead)
        with torch.enable_grad():
            total = self.total(instead)
            total = total if scaler is None else scaler.scale(total)
        into = None if not flat and reentrant(start_of(loss) for loss in found.values()) else fed
        if placed:
            backward_below(found, instead, total, into and wanted, learnt=learnt, retain_graph=retain_graph)
        else:
            torch.autograd.backward(total, inputs=into, retain_graph=retain_graph)
        if scale is not None and not finite([p.grad for p in fed]):
            self.put_back(before)


def are_placed(losses: Iterable[Loss]) -> bool:
    """Whether all of them are.

    Raises:
        TypeError: some are, and others are tensors.
    """
    kinds = {isinstance(loss, Placed) for loss in losses}
    if len(kinds) > 1:
        raise TypeError("some losses are tensors and others are places in the graph; give one kind")
    return kinds == {True}


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
