"""Gradients by way of the shared representation: K passes through the heads, and one through the trunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dominance.optim.engine.gradients import grad, listeners, own_passes, refuse_reentrant
from dominance.optim.engine.task_gradients import Loss, Matrix, Row, TaskGradients, finite, named, times, values_of

Representation = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Pull:
    """What is fed back into the trunk where the heads begin, at each task's representation; and to the heads.

    Attributes:
        total: one tensor for each representation; None is zero.
        heads: factor on each task's gradient of its head, shape (K,).
        weights: ``total`` is the tasks' gradients times these, shape (K,); None: it is something else.
        parts: if so, what of it is fed on behalf of each task: K rows like ``total``, made when looked at.
    """

    total: Row
    heads: Matrix
    weights: Matrix | None
    parts: Iterable[Row] = ()


def backward_through(
    pulled: Callable[[Sequence[str], Matrix, Sequence[Tensor], Row], Pull],
    losses: dict[str, Tensor],
    parameters: list[Tensor],
    representation: Representation,
    scale: float | None = None,
) -> tuple[list[Tensor], Row, Callable[[], None]] | None:
    """The combined gradient, found by way of the representation.

    Args:
        pulled: the method; see ``Combiner.pull``.
        scale: passes are made on the losses times this, and so are the gradients returned; the method does not see it.

    Returns:
        The parameters, heads first; their gradients; and what is to be called once these are in ``.grad``. None if
        there is a scale and the losses or gradients are not finite: the method has not seen them.

    Raises:
        TypeError, ValueError: see ``Combiner.backward``.
    """
    tasks = tuple(losses)
    points = _points(representation, tasks)
    below = behind(points, parameters)
    heads = [p for p, in_trunk in zip(parameters, below, strict=True) if not in_trunk]
    trunk = [p for p, in_trunk in zip(parameters, below, strict=True) if in_trunk]
    if not trunk:
        raise ValueError("the representation is made from none of the parameters; give those of the trunk too")
    shared = len({id(point) for point in points}) == 1
    kept = _kept([_head(*each, trunk) for each in zip(tasks, losses.values(), points, strict=True)])
    rows: list[Row] = []
    at_points: Row = []
    factor = 1.0 if scale is None else scale
    with own_passes():
        for loss, point, keep in zip(losses.values(), points, kept, strict=True):
            # Listeners look at the graph once more.
            scaled = loss if scale is None else loss * scale
            found = grad(scaled, [point, *heads], retain_graph=keep or bool(listeners))
            found = found if scale is None else times(found, 1 / factor)
            at_points.append(found[0])
            rows.append(found[1:])
    detached = tuple(loss.detach().reshape(()) for loss in losses.values())
    if scale is not None and not finite([*detached, *at_points, *(g for row in rows for g in row)]):
        return None
    pull = pulled(tasks, values_of(detached), points, at_points)
    on_heads = TaskGradients(tasks, tuple(heads), rows, detached, (False,) * len(heads))
    done: list[Callable[[], None]] = []
    if pull.weights is not None:
        weights, beside = named(tasks, pull.weights * factor), named(tasks, pull.heads * factor)
        done = [listener.weighted(losses, weights, beside, trunk) for listener in listeners]
    elif listeners:
        own = on_heads.mixed(np.eye(len(tasks)), pull.heads * factor).rows
        parts = [_pulled_back(points, times(part, factor), trunk, shared=shared, keep=True) for part in pull.parts]
        joined = [[*of_head, *of_trunk] for of_head, of_trunk in zip(own, parts, strict=True)]
        in_trunk = (False,) * len(heads) + (True,) * len(trunk)
        effective = TaskGradients(tasks, (*heads, *trunk), joined, detached, in_trunk)
        done = [partial(listener.effective, effective, None) for listener in listeners]
    total = pull.total if scale is None else times(pull.total, scale)
    fed = _pulled_back(points, total, trunk, shared=shared, keep=False)
    return [*heads, *trunk], [*on_heads.total(heads=pull.heads * factor), *fed], partial(_call, done)


def tensors(losses: Mapping[str, Loss]) -> dict[str, Tensor]:
    """The losses, all of which must be tensors.

    Raises:
        TypeError: one is placed.
    """
    found = {task: loss for task, loss in losses.items() if isinstance(loss, Tensor)}
    if len(found) < len(losses):
        raise TypeError("with a representation the losses must be tensors, not places in the graph")
    return found


def _points(representation: Representation, tasks: Sequence[str]) -> list[Tensor]:
    """The representation of each task, looked at."""
    if isinstance(representation, Tensor):
        points = [representation] * len(tasks)
    elif isinstance(representation, Mapping):
        missing = [task for task in tasks if task not in representation]
        if missing:
            raise ValueError(f"representation has no tensor for {', '.join(missing)}; it has {list(representation)}")
        points = [representation[task] for task in tasks]
    else:
        raise TypeError(f"representation is a {type(representation).__name__}; give a tensor, or a mapping of them")
    for task, point in zip(tasks, points, strict=True):
        if not isinstance(point, Tensor):
            raise TypeError(f"the representation of {task!r} is a {type(point).__name__}, not a tensor")
        if point.grad_fn is None:
            raise ValueError(
                f"the representation of {task!r} is made from nothing that needs gradient: it is detached, or the "
                "trunk is frozen; leave out representation="
            )
    return points


def _head(task: str, loss: Tensor, point: Tensor, trunk: Sequence[Tensor]) -> set[Any]:
    """The nodes from a loss down to its representation, without leaves.

    Raises:
        ValueError: the loss is not made from it, or reaches the trunk otherwise too: that gradient would be lost.
    """
    end = (point.grad_fn, point.output_nr)
    seen: set[Any] = set()
    met = False
    waiting: list[Any] = [(loss.grad_fn, loss.output_nr)]
    while waiting:
        edge = waiting.pop()
        if edge == end:
            met = True
        elif edge[0] is not None and edge[0] not in seen:
            seen.add(edge[0])
            waiting += edge[0].next_functions
    refuse_reentrant(seen)
    if not met:
        raise ValueError(
            f"the loss of {task!r} is not made from its representation; give the very tensor that the head is given, "
            "not a copy or a view of it"
        )
    leaves = {node for node in seen if type(node).__name__ == _LEAF}
    reached = {id(node.variable) for node in leaves}
    around = [tuple(p.shape) for p in trunk if id(p) in reached]
    if around:
        raise ValueError(
            f"the loss of {task!r} reaches parameters of the trunk otherwise than through its representation (shapes "
            f"{around}), by a skip connection or a tied weight; leave out representation="
        )
    return seen - leaves


def _kept(heads: Sequence[set[Any]]) -> list[bool]:
    """For each head, whether a later one needs the graph of it once more."""
    return [any(not head.isdisjoint(other) for other in heads[k + 1 :]) for k, head in enumerate(heads)]


def _pulled_back(points: Sequence[Tensor], gradients: Row, trunk: Sequence[Tensor], *, shared: bool, keep: bool) -> Row:
    """The gradient of the trunk, given that of the points; ``shared``: they are all the same one."""
    given = [g for g in gradients if g is not None]
    into = [p for p, g in zip(points, gradients, strict=True) if g is not None]
    if not given:
        return [None] * len(trunk)
    if shared:
        given, into = [torch.stack(given).sum(dim=0)], into[:1]
    with own_passes(), _unhooked(into):
        return grad(into, trunk, given, retain_graph=keep)


@contextmanager
def _unhooked(points: Sequence[Tensor]) -> Iterator[None]:
    """Hooks of the points do not fire in this block: they have seen each task's gradient already."""
    hooks = {id(hooked): hooked for point in points if (hooked := point._backward_hooks)}
    kept = [(hooked, dict(hooked)) for hooked in hooks.values()]
    for hooked, _ in kept:
        hooked.clear()
    try:
        yield
    finally:
        for hooked, content in kept:
            hooked.update(content)


_LEAF = "AccumulateGrad"


def behind(points: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[bool]:
    """For each parameter, whether one of the points is made from it.

    Raises:
        RuntimeError: reentrant checkpointing hides what lies behind.
    """
    return below((point.grad_fn for point in points), parameters)


def below(nodes: Iterable[Any], parameters: Sequence[Tensor]) -> list[bool]:
    """The same of nodes of the graph; None is no node."""
    reached: set[Any] = set()
    waiting: list[Any] = [node for node in nodes if node is not None]
    while waiting:
        node = waiting.pop()
        if node in reached:
            continue
        reached.add(node)
        waiting += [child for child, _ in node.next_functions if child is not None]
    refuse_reentrant(reached)
    leaves = {id(node.variable) for node in reached if type(node).__name__ == _LEAF}
    return [id(parameter) in leaves for parameter in parameters]


def _call(functions: Iterable[Callable[[], None]]) -> None:
    for function in functions:
        function()
