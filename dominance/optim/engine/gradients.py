"""Per-task gradients: one backward pass a task, or all at once through the shared trunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from dominance.optim.engine.listeners import own_passes
from dominance.optim.engine.passes import How, rows
from dominance.optim.engine.places import Loss, Placed, start_of
from dominance.optim.engine.scaling import times
from dominance.optim.engine.task_gradients import Sharing, TaskGradients


def present(losses: Mapping[str, Loss | None]) -> dict[str, Loss]:
    """The losses of the tasks that are in this batch: those that are not None.

    Raises:
        TypeError: ``losses`` is no mapping of names, which are strings, to scalar tensors.
        ValueError: none is there, or one is not a scalar or needs no gradient.
    """
    if not isinstance(losses, Mapping):
        raise TypeError(f'losses is a {type(losses).__name__}; give a mapping like {{"depth": loss_depth}}')
    for task in losses:
        if not isinstance(task, str):
            raise TypeError(f"the task {task!r} is named by a {type(task).__name__}; give a string")
    found = {task: loss for task, loss in losses.items() if loss is not None}
    if not found:
        raise ValueError("no task has a loss in this batch; leave the step out")
    for task, loss in found.items():
        if isinstance(loss, Placed):
            continue
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
    return _leaves(_given(parameters))


def _given(parameters: Iterable[Tensor] | nn.Module) -> list[Tensor]:
    """All of them."""
    return list(parameters.parameters() if isinstance(parameters, nn.Module) else parameters)


def _leaves(given: Sequence[Tensor]) -> tuple[Tensor, ...]:
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
    losses: Mapping[str, Loss | None],
    parameters: Iterable[Tensor] | nn.Module,
    *,
    sharing: Sharing | None = None,
    retain_graph: bool = False,
    how: How = "auto",
    scale: float = 1.0,
) -> TaskGradients:
    """The gradient of each task's loss by each parameter. ``.grad`` is left alone.

    ``Tensor.register_hook`` hooks fire as in ``torch.autograd.grad``: on the gradient of each task apart. Hooks that
    run after accumulation do not.

    Args:
        losses: task name -> scalar loss; None for a task that is absent from the batch: it gets no row.
        parameters: leaf tensors, or a module; those that need no gradient are left out.
        sharing: remembers over the steps which parameters are shared; without it, those are that two tasks reach now.
        retain_graph: keep the graph for another pass. Otherwise the graph of what the tasks share is freed; passed
            task by task, heads other than the last one keep theirs as long as their loss lives.
        how: "loop": one pass a task. "batched": all tasks at once through what they share, found in the graph.
            "auto": whichever is faster as a rule, by the number of tasks and the sizes in the graph. Parameters with
            hooks are passed task by task. A hook on another tensor of the trunk sees all tasks' gradients in one
            batched tensor when they are passed at once: give "loop" for such a model.
        scale: the passes are made on the losses times this, for half precision, and the gradients divided by it.

    Raises:
        TypeError, ValueError: see ``present`` and ``leaves``; a gradient is sparse; "batched" cannot be done.
        RuntimeError: the graph hides parameters behind reentrant checkpointing, is of a compiled model that allows
            one pass only, or has a hook that cannot take several tasks' gradients at once.
    """
    if how not in ("auto", "loop", "batched"):
        raise ValueError(f'how is {how!r}; it is one of "auto", "loop", "batched"')
    found = present(losses)
    given = _given(parameters)
    wanted = _leaves(given)
    every = list(found.values())
    with own_passes():
        taken = rows([start_of(loss, scale) for loss in every], wanted, retain_graph=retain_graph, how=how)
    if scale != 1:
        taken = [times(row, 1 / scale) for row in taken]
    if {g.layout for row in taken for g in row if g is not None} - {torch.strided}:
        raise TypeError("the gradient of a parameter is sparse; use dense ones: nn.Embedding(..., sparse=False)")
    tasks = tuple(found)
    if sharing is None:
        reached = [[g is not None for g in row] for row in taken]
        shared = tuple([sum(column) > 1 for column in zip(*reached, strict=True)])
    else:
        shared = sharing.shared(tasks, wanted, taken, given)
    return TaskGradients(tasks, wanted, taken, tuple([_scalar(loss) for loss in every]), shared)


def _scalar(loss: Loss) -> Tensor:
    return loss.detach().reshape(())
