"""The engine that takes task gradients: the same for those that are mixed here, and for those that are recorded.

It goes task by task, or with all tasks at once through the part of the graph that they share. What a task does not
reach is None; gradients have the layout and the precision that autograd gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dominance.optim.engine.batched import chosen
from dominance.optim.engine.start import Start
from dominance.optim.engine.task_gradients import Row

How = Literal["auto", "loop", "batched"]
_REENTRANT = "CheckpointFunctionBackward"


class CannotBatch(RuntimeError):
    """Something on the way cannot take several tasks' gradients at once, which showed when it was tried."""


def rows(
    starts: Sequence[Start],
    parameters: Sequence[Tensor],
    *,
    retain_graph: bool,
    how: How = "auto",
    hidden: Callable[[Start, Sequence[Any]], Row] | None = None,
) -> list[Row]:
    """The gradient of each task by each parameter; ``.grad`` is left alone.

    Args:
        starts: one for each task.
        parameters: leaf tensors, or others of the graph.
        retain_graph: keep the graph for another pass.
        how: see ``dominance.optim.task_gradients``.
        hidden: takes the gradient of a task whose graph has reentrant checkpointing, given its nodes; None: refuse it.

    Raises:
        ValueError: ``how`` is "batched" and the graph has no such way.
        CannotBatch: see there.
        RuntimeError: what autograd raises; and where reentrant checkpointing hides parameters.
    """
    every = _below(starts)
    if _has_reentrant(every):
        if hidden is None:
            refuse_reentrant(every)
        else:
            return [_row_with_hidden(start, parameters, hidden) for start in starts]
    batched = None if how == "loop" else chosen(starts, parameters, how)
    if batched is None:
        last = len(starts) - 1
        return [
            grad(start.outputs, parameters, start.gradients, retain_graph=retain_graph or k < last)
            for k, start in enumerate(starts)
        ]
    try:
        return batched(retain_graph)
    except RuntimeError as error:
        if any(word in str(error) for word in ("vmap", "Batching rule", "data pointer")):
            raise CannotBatch(
                "something on the way, such as a hook of an activation, cannot take the gradients of several tasks at "
                'once; pass task by task: task_gradients(..., how="loop"), or combiner.how = "loop"'
            ) from error
        _explain(error)
        raise


def _row_with_hidden(start: Start, parameters: Sequence[Tensor], hidden: Callable[[Start, Sequence[Any]], Row]) -> Row:
    nodes = _below([start])
    if _has_reentrant(nodes):
        return hidden(start, nodes)
    return grad(start.outputs, parameters, start.gradients, retain_graph=True)


def grad(
    outputs: Tensor | Sequence[Any],
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


def reentrant(starts: Iterable[Start]) -> bool:
    """Whether the graph below these has reentrant checkpointing."""
    return _has_reentrant(_below(starts))


def _below(starts: Iterable[Start]) -> list[Any]:
    """All nodes of the graph, as far as it may hold re-entrant checkpointing."""
    seen: dict[Any, None] = {}
    waiting: list[Any] = [node for start in starts if not start.flat for node, _ in start.edges if node is not None]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += [below for below, _ in node.next_functions if below is not None]
    return list(seen)


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
