"""Per-task gradients: one backward pass a task, or all at once through the shared trunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dominance.optim.listeners import own_passes
from dominance.optim.task_gradients import Row, Sharing, TaskGradients


def present(losses: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The losses of the tasks that are in this batch: those that are not None.

    Raises:
        TypeError: ``losses`` is no mapping of names to scalar tensors.
        ValueError: none is there, or one is not a scalar or needs no gradient.
    """
    if not isinstance(losses, Mapping):
        raise TypeError(f'losses is a {type(losses).__name__}; give a mapping like {{"depth": loss_depth}}')
    found = {str(task): loss for task, loss in losses.items() if loss is not None}
    if not found:
        raise ValueError("no task has a loss in this batch; leave the step out")
    for task, loss in found.items():
        if not isinstance(loss, Tensor):
            raise TypeError(f"the loss of {task!r} is a {type(loss).__name__}, not a tensor")
        if loss.numel() != 1:
            raise ValueError(f"the loss of {task!r} has shape {tuple(loss.shape)}; reduce it to a scalar")
        if not loss.requires_grad:
            raise ValueError(f"the loss of {task!r} needs no gradient; give None for a task without labels")
    return found


def task_gradients(
    losses: Mapping[str, Tensor | None],
    parameters: Iterable[Tensor],
    *,
    sharing: Sharing | None = None,
    retain_graph: bool = False,
) -> TaskGradients:
    """The gradient of each task's loss by each parameter. ``.grad`` is left alone.

    Args:
        losses: task name -> scalar loss; None for a task that is absent from the batch: it gets no row.
        parameters: leaf tensors that need gradient; others are left out.
        sharing: remembers over the steps which parameters are shared; without it, those are that two tasks reach now.
        retain_graph: keep the graph for another pass.

    Raises:
        TypeError, ValueError: see ``present``.
    """
    found = present(losses)
    wanted = tuple(p for p in parameters if p.requires_grad)
    rows: list[Row] = []
    with own_passes():
        for position, loss in enumerate(found.values()):
            keep = retain_graph or position < len(found) - 1
            rows.append(list(torch.autograd.grad(loss, wanted, retain_graph=keep, allow_unused=True)))
    tasks = tuple(found)
    shared = (sharing or Sharing()).shared(tasks, wanted, rows)
    return TaskGradients(tasks, wanted, rows, tuple(loss.detach().reshape(()) for loss in found.values()), shared)
