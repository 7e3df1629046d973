"""Per-task gradients of the shared parameters, by the engine that ``dominance.optim`` takes them with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.optim.engine.gradients import CannotBatch, rows
from dominance.optim.engine.task_gradients import Start
from dominance.record.guest.hooks import dense
from dominance.record.guest.limits import CannotLook
from dominance.record.guest.silence import gathering
from dominance.record.sharded_models import leaf_of
from dominance.record.split.one_pass import Apart, sets_of
from dominance.record.tasks.finder import FoundTask
from dominance.record.tasks.graph import Edge, leaves

AsKept = Callable[[Tensor, Tensor], Tensor]


def _dense(parameter: Tensor, gradient: Tensor) -> Tensor:
    return dense(gradient)


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
    return several([(edges, weights)], parameters)[0]


def several(
    tasks: Sequence[tuple[Sequence[Edge], Sequence[Tensor]]],
    parameters: Sequence[Tensor],
    as_kept: AsKept = _dense,
) -> list[list[Tensor | None]]:
    """The same of several tasks, given the terms and the weights of each."""
    if not tasks:
        return []
    starts = [Start([GradientEdge(*edge) for edge in edges], list(weights)) for edges, weights in tasks]

    def hidden(start: Start, nodes: Sequence[Any]) -> list[Tensor | None]:
        # A re-entrant checkpoint refuses autograd.grad: it runs a backward() of its own that fills .grad. One that no
        # parameter lies below would be passed over without a word, and the parameters inside it with it.
        return _by_accumulation(start, parameters, leaves(nodes))

    try:
        found = rows(starts, parameters, retain_graph=True, hidden=hidden)
    except CannotBatch:
        found = rows(starts, parameters, retain_graph=True, hidden=hidden, how="loop")
    return [[None if g is None else as_kept(p, g) for p, g in zip(parameters, row, strict=True)] for row in found]


def gradients_of(
    tasks: Sequence[FoundTask],
    parameters: Sequence[Tensor],
    apart: Apart | None = None,
    as_kept: AsKept = _dense,
) -> dict[str, dict[Tensor, Tensor]]:
    """The same of several tasks, by name, and by parameter that a task reaches; what two of one name give is added.

    Args:
        tasks: the tasks.
        parameters: leaf tensors that need gradient.
        apart: takes the gradients of tasks that are groups of examples, as far as it can, without a pass a group.
        as_kept: makes of a parameter and its gradient what is to be returned.
    """
    known_as = {leaf_of(p): p for p in parameters}
    parameters = list(known_as)
    taken: dict[str, dict[Tensor, Tensor]] = {task.name: {} for task in tasks}
    sets = [list(tasks)] if apart is None else sets_of(tasks)
    for together in sets:
        known = {} if apart is None else apart.take(together, parameters, alone=len(sets) == 1)
        for p, each in known.items():
            for task, gradient in zip(together, each, strict=True):
                _add(taken[task.name], p, dense(gradient))
        left = [p for p in parameters if p not in known] if known else parameters
        found = several([(task.edges, task.gradients) for task in together], left, as_kept) if left else []
        for task, per_parameter in zip(together, found, strict=bool(left)):
            for p, reached in zip(left, per_parameter, strict=True):
                if reached is not None:
                    _add(taken[task.name], p, reached)
    return {name: {known_as[p]: gradient for p, gradient in of.items()} for name, of in taken.items()}


def _add(held: dict[Tensor, Tensor], parameter: Tensor, gradient: Tensor) -> None:
    held[parameter] = held[parameter] + gradient if parameter in held else gradient


def _by_accumulation(start: Start, parameters: Sequence[Tensor], beside: Sequence[Tensor]) -> list[Tensor | None]:
    """``beside`` are other leaves that the pass reaches, like an input that was told to need gradient."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise CannotLook("a re-entrant checkpoint fills .grad, at which other processes may be waiting to average it")
    with gathering() as leaves_held:
        leaves_held.hold([*parameters, *beside])
        torch.autograd.backward(list(start.outputs), list(start.gradients or ()), retain_graph=True)
        return [p.grad for p in parameters]
