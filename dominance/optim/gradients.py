"""Per-task gradients: one backward pass a task, or all at once through the shared trunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dominance.optim.batched import chosen
from dominance.optim.listeners import own_passes
from dominance.optim.rows import Row, Sharing, TaskGradients
from dominance.optim.scaling import times

How = Literal["auto", "loop", "batched"]
_REENTRANT = "CheckpointFunctionBackward"


def present(losses: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
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
    losses: Mapping[str, Tensor | None],
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
    scaled = every
    if scale != 1:
        with torch.enable_grad():
            scaled = [loss * scale for loss in every]
    with own_passes():
        rows = _rows(scaled, wanted, retain_graph, how)
    if scale != 1:
        rows = [times(row, 1 / scale) for row in rows]
    if {g.layout for row in rows for g in row if g is not None} - {torch.strided}:
        raise TypeError("the gradient of a parameter is sparse; use dense ones: nn.Embedding(..., sparse=False)")
    tasks = tuple(found)
    if sharing is None:
        reached = [[g is not None for g in row] for row in rows]
        shared = tuple([sum(column) > 1 for column in zip(*reached, strict=True)])
    else:
        shared = sharing.shared(tasks, wanted, rows, given)
    return TaskGradients(tasks, wanted, rows, tuple([_scalar(loss) for loss in every]), shared)


def _scalar(loss: Tensor) -> Tensor:
    return loss.detach() if loss.dim() == 0 else loss.detach().reshape(())


def _rows(losses: Sequence[Tensor], parameters: Sequence[Tensor], retain_graph: bool, how: How) -> list[Row]:
    reentrant(losses, refuse=True)
    batched = None if how == "loop" else chosen(losses, parameters, how)
    if batched is None:
        last = len(losses) - 1
        return [grad(loss, parameters, retain_graph=retain_graph or k < last) for k, loss in enumerate(losses)]
    try:
        return batched(retain_graph)
    except RuntimeError as error:
        if any(word in str(error) for word in ("vmap", "Batching rule", "data pointer")):
            raise RuntimeError(
                "something on the way, such as a hook of an activation, cannot take the gradients of several tasks at "
                'once; pass task by task: task_gradients(..., how="loop"), or combiner.how = "loop"'
            ) from error
        _explain(error)
        raise


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    gradients: Sequence[Tensor] | None = None,
    *,
    retain_graph: bool,
) -> Row:
    """``torch.autograd.grad``, None where an input is not reached.

    Raises:
        RuntimeError: as there; with what to do about a compiled model that allows one pass only.
    """
    try:
        return list(torch.autograd.grad(outputs, inputs, gradients, retain_graph=retain_graph, allow_unused=True))
    except RuntimeError as error:
        _explain(error)
        raise


def _explain(error: RuntimeError) -> None:
    """Raise it in words that say what to do about it, where that is known."""
    if "donated" in str(error):
        raise RuntimeError(
            "a compiled model's graph allows one pass, and each task needs one: set "
            "torch._functorch.config.donated_buffer = False before it is compiled"
        ) from error


def reentrant(losses: Iterable[Tensor], *, refuse: bool = False) -> bool:
    """Whether the graph of these losses has reentrant checkpointing; ``refuse`` it: see ``refuse_reentrant``."""
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [below for below, _ in node.next_functions if below is not None]
    if refuse:
        refuse_reentrant(seen)
    return _has_reentrant(seen)


def _has_reentrant(nodes: Iterable[Any]) -> bool:
    return any(kind.__name__ == _REENTRANT for kind in set(map(type, nodes)))


def refuse_reentrant(nodes: Iterable[Any]) -> None:
    """Autograd finds no gradients of parameters within reentrant checkpointing, unless it runs a whole backward().

    Raises:
        RuntimeError: it is among the nodes.
    """
    if _has_reentrant(nodes):
        raise RuntimeError(
            "torch.utils.checkpoint with use_reentrant=True hides its parameters from all but a whole backward(), and "
            "the tasks' gradients are taken apart here: give use_reentrant=False"
        )
