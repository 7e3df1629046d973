"""Gradients by way of the shared representation: K passes through the heads, and one through the trunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dominance.optim.listeners import listeners, own_passes
from dominance.optim.rows import Matrix, Row, TaskGradients, named

if TYPE_CHECKING:
    from dominance.optim.combiner import Combiner

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
    combiner: Combiner, losses: dict[str, Tensor], parameters: list[Tensor], representation: Representation
) -> tuple[list[Tensor], Row, Callable[[], None]]:
    """The combined gradient, found by way of the representation.

    Returns:
        The parameters, heads first; their gradients; and what is to be called once these are in ``.grad``.
    """
    tasks = tuple(losses)
    shared = isinstance(representation, Tensor)
    points = [representation if isinstance(representation, Tensor) else representation[task] for task in tasks]
    below = behind(points, parameters)
    heads = [p for p, in_trunk in zip(parameters, below, strict=True) if not in_trunk]
    trunk = [p for p, in_trunk in zip(parameters, below, strict=True) if in_trunk]
    rows: list[Row] = []
    at_points: Row = []
    with own_passes():
        for loss, point in zip(losses.values(), points, strict=True):
            found = torch.autograd.grad(loss, [point, *heads], retain_graph=True, allow_unused=True)
            at_points.append(found[0])
            rows.append(list(found[1:]))
    values = np.array([float(loss.detach()) for loss in losses.values()])
    pull = combiner.pull(tasks, values, points, at_points)
    detached = tuple(loss.detach().reshape(()) for loss in losses.values())
    on_heads = TaskGradients(tasks, tuple(heads), rows, detached, (False,) * len(heads))
    done: list[Callable[[], None]] = []
    if pull.weights is not None:
        weights, beside = named(tasks, pull.weights), named(tasks, pull.heads)
        done = [listener.weighted(losses, weights, beside, trunk) for listener in listeners]
    elif listeners:
        own = on_heads.mixed(np.eye(len(tasks)), pull.heads).rows
        parts = [_pulled_back(points, part, trunk, shared=shared, keep=True) for part in pull.parts]
        joined = [[*of_head, *of_trunk] for of_head, of_trunk in zip(own, parts, strict=True)]
        in_trunk = (False,) * len(heads) + (True,) * len(trunk)
        effective = TaskGradients(tasks, (*heads, *trunk), joined, detached, in_trunk)
        done = [partial(listener.effective, effective, None) for listener in listeners]
    fed = _pulled_back(points, pull.total, trunk, shared=shared, keep=False)
    return [*heads, *trunk], [*on_heads.total(heads=pull.heads), *fed], partial(_call, done)


def _pulled_back(points: Sequence[Tensor], gradients: Row, trunk: Sequence[Tensor], *, shared: bool, keep: bool) -> Row:
    """The gradient of the trunk, given that of the points; ``shared``: they are all the same one."""
    given = [g for g in gradients if g is not None]
    into = [p for p, g in zip(points, gradients, strict=True) if g is not None]
    if shared and given:
        given, into = [torch.stack(given).sum(dim=0)], into[:1]
    with own_passes():
        return list(torch.autograd.grad(into, trunk, given, allow_unused=True, retain_graph=keep))


def behind(points: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[bool]:
    """For each parameter, whether one of the points is made from it."""
    reached: set[Any] = set()
    waiting: list[Any] = [point.grad_fn for point in points if point.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node in reached:
            continue
        reached.add(node)
        waiting += [below for below, _ in node.next_functions if below is not None]
    leaves = {id(node.variable) for node in reached if hasattr(node, "variable")}
    return [id(parameter) in leaves for parameter in parameters]


def _call(functions: Iterable[Callable[[], None]]) -> None:
    for function in functions:
        function()
