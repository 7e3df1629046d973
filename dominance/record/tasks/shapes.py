"""Graphs that come again, step after step: told from others in one walk that makes nothing but a list of the nodes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dominance.record.tasks.graph import LEAF, Node, Structure

_Told = tuple[Any, Tensor | None, list[tuple[int, int]]]
"""The type of a node; its leaf, if it is one's; the place of each node that it goes on to, and as which output."""


class Shape:
    """The graph below one node, to be known again: of each node its type, its leaf or where its gradients go on to.

    Args:
        found: that graph; nothing of it is held.
    """

    def __init__(self, found: Structure) -> None:
        self._nodes: list[_Told] = []
        for node in found.nodes:
            below = [(-1 if child is None else found.places[child], output) for child, output in node.next_functions]
            leaf = node.variable if type(node) is LEAF else None
            self._nodes.append((type(node), leaf, below))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Shape)
            and len(self._nodes) == len(other._nodes)
            and all(map(_alike, self._nodes, other._nodes))
        )

    __hash__ = None  # type: ignore[assignment]

    def nodes_of(self, start: Node) -> list[Node] | None:
        """The nodes below another start, each at its place; None where the graph there or its leaves are not the same.

        A walk like that of ``structure``, which makes nothing but this list.
        """
        nodes, count = [start], 1
        for at, (kind, leaf, expected) in enumerate(self._nodes):
            if at == count:
                return None
            node = nodes[at]
            if type(node) is not kind:
                return None
            if leaf is not None:
                if node.variable is not leaf:
                    return None
                continue
            below = node.next_functions
            if len(below) != len(expected):
                return None
            for (child, output), (place, number) in zip(below, expected, strict=True):
                if place == count:
                    nodes.append(child)
                    count += 1
                elif child is not (None if place < 0 else nodes[place]):
                    return None
                if output != number:
                    return None
        return nodes if count == len(self._nodes) == len(set(nodes)) else None


def _alike(one: _Told, other: _Told) -> bool:
    return one[0] is other[0] and one[1] is other[1] and one[2] == other[2]
