"""Steps like one that was looked at before: their tasks are known by the same variables and the same graph.

To look at a backward() anew takes longer than a step of a small network. Between recorded steps, most of them are made
by the same line of the script, of a graph of the same nodes above the same parameters, and the losses are in the same
variables: then they are the same tasks. Whatever is not so is looked at as ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import GradientEdge

from dominance.record.frames import variables_of
from dominance.record.step_recorder import Look
from dominance.record.tasks.graph import Edge, Node, positions_above, structure
from dominance.record.tasks.naming import caller_frames
from dominance.record.tasks.shapes import Shape

_MOST = 8
"""Structures that are kept for one place, and places at which nothing came of keeping one before it is given up."""
_SUM = "AddBackward0"


@dataclass(frozen=True)
class _Held:
    """Where the script holds a task's loss: a variable of a frame, or an item of one."""

    frame: int
    code: CodeType
    variable: str
    key: Any = None
    """The item, or the attribute; None: the variable itself."""


class KnownPass(NamedTuple):
    """What a backward() is made of that is like others before.

    Attributes:
        losses: the tasks' losses times the script's weights, without the scale of a GradScaler.
        parameters: those that it reaches; one object for all that are alike.
        beside: terms that are no task: where their gradient enters the graph, and what enters there.
        scale: of a GradScaler; None: there is none at work.
    """

    losses: Mapping[str, Tensor]
    parameters: Sequence[Tensor]
    beside: Sequence[tuple[Edge, Tensor]]
    scale: float | None


@dataclass(frozen=True)
class Rehearsed:
    """A backward() that was looked at.

    Attributes:
        graph: what it was called on.
        tasks: name -> the place of its loss in that, which output of it, and who holds it.
        beside: the places of the terms that are no task, and which output of each.
        sums: the places of the nodes above the losses, where they do nothing but add up; None: there is more to it.
        parameters: those that it reaches.
        scaler: who holds the GradScaler; None: there is none.
    """

    graph: Shape
    tasks: Mapping[str, tuple[int, int, _Held]]
    beside: Sequence[tuple[int, int]]
    sums: tuple[int, ...] | None
    parameters: list[Tensor]
    scaler: _Held | None


class Rehearsals:
    """What is known of the places of the script at which it calls backward()."""

    def __init__(self) -> None:
        self._known: dict[tuple[CodeType, int], list[Rehearsed]] = {}
        self._in_vain: dict[tuple[CodeType, int], int] = {}

    def learn(self, look: Look, parameters: Sequence[Tensor]) -> None:
        """Keep what a look has found, where the next one need not look for it."""
        frames = caller_frames()
        place = _place(frames)
        if place is None or self._in_vain.get(place, 0) >= _MOST:
            return
        found = _rehearsed(look, parameters, frames)
        kept = self._known.setdefault(place, [])
        if found is None or len(kept) >= _MOST:
            self._in_vain[place] = self._in_vain.get(place, 0) + 1
        elif not any(each.graph == found.graph and each.tasks == found.tasks for each in kept):
            kept.append(found)

    def again(self, output: Tensor, gradient: Tensor | None) -> KnownPass | None:
        """What this backward() is made of; None where that must be looked for."""
        if not self._known:
            return None
        frames = caller_frames()
        place = _place(frames)
        kept = None if place is None else self._known.get(place)
        root = output.grad_fn
        if not kept or root is None or output.output_nr or output.numel() != 1:
            return None
        read: dict[int, dict[str, Any]] = {}
        for one in kept:
            nodes = one.graph.nodes_of(root)
            losses = None if nodes is None else _losses(one, nodes, frames, read)
            if nodes is not None and losses is not None:
                start = torch.ones_like(output) if gradient is None else gradient
                return _weighted(one, losses, nodes, start, _scale(one, frames, read))
        return None


def _place(frames: Sequence[FrameType]) -> tuple[CodeType, int] | None:
    return (frames[0].f_code, frames[0].f_lasti) if frames else None


def _rehearsed(look: Look, parameters: Sequence[Tensor], frames: Sequence[FrameType]) -> Rehearsed | None:
    found = look.found
    if found is None or len(look.roots) != 1 or found.by_shares or found.counts:
        return None
    scalers = _scalers(frames)
    if (look.recording.announcement.loss_scale != 1 and not scalers) or len({id(each) for each, _ in scalers}) > 1:
        return None
    (root,) = look.roots
    terms = [*found.tasks, *found.beside]
    edges = [term.edges[0] for term in terms if len(term.edges) == 1]
    alone = len(edges) == len(terms) and not any(positions_above(edges))
    if not alone or root.tensor is None or root.edge[1] or root.tensor.numel() != 1:
        return None
    graph = structure([root.edge[0]], type)
    if graph is None or any(isinstance(node, BackwardCFunction) for node in graph.nodes):
        return None
    place, tasks = graph.places, {}
    if any(edge[0] not in place for edge in edges):
        return None
    for task, edge in zip(found.tasks, edges, strict=False):
        held = _held(task.name, edge, frames)
        if held is None or task.name in tasks:
            return None
        tasks[task.name] = place[edge[0]], edge[1], held
    return Rehearsed(
        Shape(graph),
        tasks,
        [(place[node], number) for node, number in edges[len(tasks) :]],
        _sums(root.edge[0], {edge[0] for edge in edges}, place),
        list(parameters),
        scalers[0][1] if scalers else None,
    )


def _scalers(frames: Sequence[FrameType]) -> list[tuple[torch.amp.GradScaler, _Held]]:
    """Those that the script holds, and where."""
    found = []
    for number, frame in enumerate(frames):
        for variable, value in variables_of(frame).items():
            if issubclass(type(value), torch.amp.GradScaler):
                found.append((value, _Held(number, frame.f_code, variable)))
            for name, inner in getattr(value, "__dict__", {}).items() if variable == "self" else ():
                if issubclass(type(inner), torch.amp.GradScaler):
                    found.append((inner, _Held(number, frame.f_code, variable, name)))
    return found


def _scale(one: Rehearsed, frames: Sequence[FrameType], read: dict[int, dict[str, Any]]) -> float | None:
    """Of the GradScaler, as whoever looks anew reads it; None: there is none at work. NaN: it is not there any more."""
    held = one.scaler
    if held is None:
        return None
    value = _variable(held, frames, read)
    if held.key is not None:
        value = getattr(value, "__dict__", {}).get(held.key)
    if not issubclass(type(value), torch.amp.GradScaler):
        return math.nan
    return float(value._scale) if value.is_enabled() and isinstance(value._scale, Tensor) else None


def _sums(root: Node, ends: set[Node], place: Mapping[Node, int]) -> tuple[int, ...] | None:
    """The nodes from the root to these, if all of them add two numbers up, and each end is met once."""
    above, met, stack = [], [], [root]
    while stack:
        node = stack.pop()
        if node in ends:
            met.append(node)
            continue
        if node.name() != _SUM:
            return None
        above.append(place[node])
        stack += [child for child, _ in node.next_functions if child is not None]
    return tuple(above) if len(met) == len(set(met)) == len(ends) else None


def _losses(
    one: Rehearsed, nodes: Sequence[Node], frames: Sequence[FrameType], read: dict[int, dict[str, Any]]
) -> dict[str, Tensor] | None:
    """The tasks' losses, where the script holds them as it did before."""
    losses = {}
    for task, (at, number, held) in one.tasks.items():
        loss = _value(held, frames, read)
        if loss is None or loss.grad_fn is not nodes[at] or loss.output_nr != number or not _plain(loss):
            return None
        losses[task] = loss
    return losses


def _weighted(
    one: Rehearsed, losses: Mapping[str, Tensor], nodes: Sequence[Node], gradient: Tensor, scale: float | None
) -> KnownPass | None:
    """The losses times what they count for, and the terms beside them with what enters there."""
    weights: Sequence[Tensor | None]
    if one.sums is not None and all(nodes[at]._saved_alpha == 1 for at in one.sums):
        weights = [gradient] * (len(losses) + len(one.beside))
    else:
        places = [*((at, number) for at, number, _ in one.tasks.values()), *one.beside]
        edges = [GradientEdge(nodes[at], number) for at, number in places]
        weights = torch.autograd.grad(
            [GradientEdge(nodes[0], 0)], edges, [gradient], retain_graph=True, allow_unused=True
        )
    if scale == 1:
        scale = None
    found: dict[str, Tensor] = {}
    told: dict[int, float] = {}
    for (task, loss), weight in zip(losses.items(), weights, strict=False):
        if weight is not None and id(weight) not in told:
            told[id(weight)] = (weight if scale is None else weight / scale).item()
        number = 0.0 if weight is None else told[id(weight)]
        if number == 0 or number != number:
            return None  # it is switched off for now, or something is wrong
        if number != 1:
            with torch.enable_grad():
                loss = loss * number
        found[task] = loss
    beside = []
    for (at, number), weight in zip(one.beside, weights[len(losses) :], strict=True):
        if weight is None or weight.dim():
            return None
        beside.append(((nodes[at], number), weight))
    return KnownPass(found, one.parameters, beside, scale)


def _plain(loss: Tensor) -> bool:
    """A scalar that nothing of the script's waits at."""
    return loss.dim() == 0 and not loss._backward_hooks and not loss.retains_grad


def _variable(held: _Held, frames: Sequence[FrameType], read: dict[int, dict[str, Any]]) -> Any:
    if held.frame >= len(frames) or frames[held.frame].f_code is not held.code:
        return None
    if held.frame not in read:
        read[held.frame] = variables_of(frames[held.frame])
    return read[held.frame].get(held.variable)


def _value(held: _Held, frames: Sequence[FrameType], read: dict[int, dict[str, Any]]) -> Tensor | None:
    value = _variable(held, frames, read)
    if held.key is not None:
        try:
            value = value[held.key] if type(value) in (dict, list, tuple) else None
        except (KeyError, IndexError):
            return None
    return value if type(value) is Tensor else None


def _held(name: str, edge: Edge, frames: Sequence[FrameType]) -> _Held | None:
    """Who holds the loss at this edge under this name."""
    for number, frame in enumerate(frames):
        for variable, value in variables_of(frame).items():
            if variable == name and _is(value, edge):
                return _Held(number, frame.f_code, variable)
            keys: list[Any] = list(value) if type(value) is dict else []
            if type(value) in (list, tuple) and len(value) <= _MOST:
                keys = list(range(len(value)))
            for key in keys[:_MOST]:
                label = key if type(value) is dict else f"{variable}[{key}]"
                if label == name and _is(value[key], edge):
                    return _Held(number, frame.f_code, variable, key)
    return None


def _is(value: Any, edge: Edge) -> bool:
    return type(value) is Tensor and _plain(value) and value.grad_fn is edge[0] and value.output_nr == edge[1]
