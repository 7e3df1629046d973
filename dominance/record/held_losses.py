"""Where the script holds a task's loss, and whether what it holds there in a later step is that again."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch import Tensor

from dominance.record.frames import variable_of, variables_of
from dominance.record.tasks.graph import Edge, Node, first_leaf, leads_to, led_to
from dominance.record.tasks.naming import live_edge
from dominance.record.tasks.sources import GENERIC

_MOST_NODES = 200
"""Nodes between the loss that backward() is called on and a task's, and items of a container."""

Key = str | int


@dataclass(frozen=True)
class Held:
    """How one task's loss is found again."""

    task: str
    depth: int
    """Frames out from the one that calls backward()."""
    variable: str
    key: Key | None
    """The item of a container, or the attribute, that it is; None: the variable itself."""
    way: tuple[int, ...]
    """From the loss that backward() is called on, by which of its inputs, node by node."""
    output: int
    leaf: weakref.ref[Tensor] | None = None
    """The parameter that it leads to; None: it is called as the task is."""
    leaf_way: tuple[int, ...] = ()
    """From there to that."""

    def find(self, frames: Sequence[FrameType], root: Node) -> Tensor | None:
        """The tensor in a later step; None where it is not there, or not of this loss."""
        if self.depth >= len(frames):
            return None
        value, node = _item(variable_of(frames[self.depth], self.variable), self.key), led_to(root, self.way)
        if node is None or not issubclass(type(value), Tensor) or live_edge(value) != (node, self.output):
            return None
        loss: Tensor = value
        return loss if self.leaf is None or leads_to(node, self.leaf_way, self.leaf()) else None


def held_losses(root: Node, tasks: Mapping[Edge, str], frames: Sequence[FrameType]) -> list[Held]:
    """Where the script holds the losses of tasks, as far as it does.

    Args:
        root: of the loss that backward() is called on.
        tasks: by the edge of its loss, the name of each.
        frames: of the script around the call, innermost first.
    """
    ways, held = _ways(root, set(tasks)), dict[Edge, Held]()
    for depth, frame in enumerate(frames):
        for variable, key, tensor in _tensors(variables_of(frame)):
            edge = live_edge(tensor)
            if edge is None or edge not in ways or (edge in held and held[edge].leaf is None) or tensor.numel() != 1:
                continue
            here = Held(tasks[edge], depth, variable, key, ways[edge], edge[1])
            if _called(tasks[edge], variable, key):
                held[edge] = here
            elif edge not in held and (there := _with_leaf(here, edge[0])) is not None:
                held[edge] = there
    return list(held.values())


def _ways(root: Node, wanted: set[Edge]) -> dict[Edge, tuple[int, ...]]:
    """The shortest way from a node to each of these edges, among those that are near."""
    ways: dict[Node, tuple[int, ...]] = {root: ()}
    nodes = {node for node, _ in wanted}
    for node in (queue := [root]):  # which grows
        if node in nodes or len(queue) > _MOST_NODES:
            continue
        for place, (child, _) in enumerate(node.next_functions):
            if child is not None and child not in ways:
                ways[child] = (*ways[node], place)
                queue.append(child)
    return {edge: ways[edge[0]] for edge in wanted if edge[0] in ways}


def _called(task: str, variable: str, key: Key | None) -> bool:
    """Whether what is held so is called as the task is, and not as any loss may be."""
    return task.lower() not in GENERIC and task in (variable if key is None else str(key), f"{variable}[{key}]")


def _with_leaf(held: Held, node: Node) -> Held | None:
    leaf, way = first_leaf(node)
    return None if leaf is None else dataclasses.replace(held, leaf=weakref.ref(leaf), leaf_way=way)


def _tensors(variables: Mapping[str, Any]) -> Iterator[tuple[str, Key | None, Tensor]]:
    """The tensors among these variables and one level into them: variable, key, tensor."""
    for variable, value in variables.items():
        of: list[tuple[Key | None, Any]] = [(None, value), *_items(value)]
        for key, each in of:
            if issubclass(type(each), Tensor):
                yield variable, key, each


def _items(value: Any) -> list[tuple[Key, Any]]:
    """What a container holds, or a record: ``self``, a dataclass, a namespace."""
    # By the methods of dict, list and tuple themselves: those of a subclass of the script's may load or count things.
    kind = type(value)
    if issubclass(kind, list | tuple):
        base: Any = list if issubclass(kind, list) else tuple
        return list(enumerate(base.__iter__(value))) if base.__len__(value) <= _MOST_NODES else []
    held = value if issubclass(kind, dict) else _fields(value)
    if held is None or dict.__len__(held) > _MOST_NODES:
        return []
    return [(key, each) for key, each in dict.items(held) if type(key) in (str, int)]


def _item(value: Any, key: Key | None) -> Any:
    if key is None:
        return value
    kind = type(value)
    if issubclass(kind, list | tuple):
        base: Any = list if issubclass(kind, list) else tuple
        return base.__getitem__(value, key) if isinstance(key, int) and key < base.__len__(value) else None
    held = value if issubclass(kind, dict) else _fields(value)
    return None if held is None else dict.get(held, key)


def _fields(value: Any) -> dict[str, Any] | None:
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:  # slots
        return None
    return held if type(held) is dict else None
