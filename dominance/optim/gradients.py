"""Per-task gradients: one backward pass a task, or all at once through the shared trunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dominance.optim.batched import chosen
from dominance.optim.listeners import own_passes
from dominance.optim.rows import Row, Sharing, TaskGradients

How = Literal["auto", "loop", "batched"]


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


def leaves(parameters: Iterable[Tensor] | nn.Module) -> tuple[Tensor, ...]:
    """Those of the parameters that need gradient, each once.

    Args:
        parameters: leaf tensors, or a module for all of its own.

    Raises:
        TypeError: something else is among them, like the pairs of ``named_parameters()``.
        ValueError: none is there, none needs gradient, or one is not a leaf or complex.
    """
    given = list(parameters.parameters() if isinstance(parameters, nn.Module) else parameters)
    if not given:
        raise ValueError(
            "there are no parameters; a generator such as model.parameters() is used up after one pass: "
            "give list(model.parameters())"
        )
    for kind in {type(parameter) for parameter in given}:
        if not issubclass(kind, Tensor):
            raise TypeError(f"a {kind.__name__} is among the parameters; give model.parameters()")
    found = {id(p): p for p in given if p.requires_grad}
    for p in [p for p in found.values() if not p.is_leaf or p.dtype.is_complex]:
        kind_of = "complex" if p.is_complex() else "no leaf of the graph"
        raise ValueError(f"a parameter of shape {tuple(p.shape)} is {kind_of}")
    if not found:
        raise ValueError(f"none of the {len(given)} parameters needs gradient")
    return tuple(found.values())


def task_gradients(
    losses: Mapping[str, Tensor | None],
    parameters: Iterable[Tensor] | nn.Module,
    *,
    sharing: Sharing | None = None,
    retain_graph: bool = False,
    how: How = "auto",
) -> TaskGradients:
    """The gradient of each task's loss by each parameter. ``.grad`` is left alone.

    ``Tensor.register_hook`` hooks fire as in ``torch.autograd.grad``: on the gradient of each task apart. Hooks that
    run after accumulation do not.

    Args:
        losses: task name -> scalar loss; None for a task that is absent from the batch: it gets no row.
        parameters: leaf tensors, or a module; those that need no gradient are left out.
        sharing: remembers over the steps which parameters are shared; without it, those are that two tasks reach now.
        retain_graph: keep the graph for another pass.
        how: "loop": one pass a task. "batched": all tasks at once through what they share, found in the graph.
            "auto": whichever is faster as a rule, by the number of tasks and the sizes in the graph. Parameters with
            hooks are passed task by task. A hook on another tensor of the trunk sees all tasks' gradients in one
            batched tensor when they are passed at once: give "loop" for such a model.

    Raises:
        TypeError, ValueError: see ``present`` and ``leaves``; a gradient is sparse; "batched" cannot be done.
    """
    if how not in ("auto", "loop", "batched"):
        raise ValueError(f'how is {how!r}; it is one of "auto", "loop", "batched"')
    found = present(losses)
    wanted = leaves(parameters)
    every = list(found.values())
    with own_passes():
        batched = None if how == "loop" else chosen(every, wanted, how)
        rows = _one_by_one(every, wanted, retain_graph) if batched is None else batched(retain_graph)
    if {g.layout for row in rows for g in row if g is not None} - {torch.strided}:
        raise TypeError("the gradient of a parameter is sparse; use dense ones: nn.Embedding(..., sparse=False)")
    tasks = tuple(found)
    if sharing is None:
        reached = [[g is not None for g in row] for row in rows]
        shared = tuple([sum(column) > 1 for column in zip(*reached, strict=True)])
    else:
        shared = sharing.shared(tasks, wanted, rows)
    return TaskGradients(tasks, wanted, rows, tuple([_scalar(loss) for loss in every]), shared)


def _scalar(loss: Tensor) -> Tensor:
    return loss.detach() if loss.dim() == 0 else loss.detach().reshape(())


def _one_by_one(losses: Sequence[Tensor], parameters: Sequence[Tensor], retain_graph: bool) -> list[Row]:
    last = len(losses) - 1
    return [
        list(torch.autograd.grad(loss, parameters, retain_graph=retain_graph or k < last, allow_unused=True))
        for k, loss in enumerate(losses)
    ]
