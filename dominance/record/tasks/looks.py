"""What was told of a node, for nodes of later steps that look the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dominance.record.tasks.graph import Fingerprint, Node, fingerprint

_DEPTHS = (24, 12, 8)
"""How many nodes tell one again; fewer do where a longer sequence has made it another graph below."""

T = TypeVar("T")


class Looks(Generic[T]):
    """Something told of nodes, by their looks; of nodes that look alike and are told different things, nothing.

    Args:
        telling: what of it has to be the same.
    """

    def __init__(self, telling: Callable[[T], object] = lambda told: told) -> None:
        self._told: dict[Fingerprint, T | None] = {}
        self._telling = telling

    def keep(self, node: Node, told: T) -> None:
        """Remember it for nodes that look like this one."""
        for depth in _DEPTHS:
            look = fingerprint(node, depth)
            known = self._told.setdefault(look, told)
            if known is not None and self._telling(known) != self._telling(told):
                # Two that look the same: which is which, only the source says.
                self._told[look] = None

    def of(self, node: Node) -> T | None:
        """What was told of a node that looks like this one."""
        looks = (self._told.get(fingerprint(node, depth)) for depth in _DEPTHS)
        return next((told for told in looks if told is not None), None)

    def exactly(self, node: Node) -> T | None:
        """The same, where all of what is compared at most has to look the same."""
        return self._told.get(fingerprint(node, _DEPTHS[0]))

    def is_torn(self, node: Node) -> bool:
        """Whether different things were told of nodes that look like this one."""
        looks = [fingerprint(node, depth) for depth in _DEPTHS]
        return any(look in self._told and self._told[look] is None for look in looks)
