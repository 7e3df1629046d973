"""Vectors of losses: those that the script holds, and those that functions held which have returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dominance.record.tasks.graph import COPY_SLICES, ELEMENTWISE, Edge, Node, children, output_shape, output_size
from dominance.record.tasks.looks import Looks
from dominance.record.tasks.naming import Names
from dominance.record.tasks.sources import listed_in, name_of_vector

MOST_ENTRIES = 200
# What a loss is worked out with from a vector of losses is a handful of nodes; a network is not.
_FEW_NODES = 200


class Stacked:
    """The names of vectors whose variables are gone, told by the source or by what looks the same."""

    def __init__(self) -> None:
        self._held: Looks[str] = Looks()
        self._lists: Looks[str] = Looks()

    def add_to(self, names: Names, starts: Sequence[Edge]) -> None:
        """Note the vectors below the roots of a backward() that have a name in the source and no variable now."""
        # Those made first come first: what is worked out from them has names of its own.
        for vector, above in reversed(list(vectors_of_scalars(starts))):
            name = self._name(vector, above)
            if name is not None:
                names.vectors.setdefault(vector, name)

    def _name(self, vector: Edge, above: Node | None) -> str | None:
        node, _ = vector
        for known, name in ((self._lists, listed_in(node)), (self._held, name_of_vector(node, above))):
            if name is not None:
                known.keep(node, name)
                return name
        return self._lists.of(node) or self._held.of(node)


def vectors_of_scalars(starts: Sequence[Edge]) -> Iterator[tuple[Edge, Node | None]]:
    """The vectors near the top of a graph that scalars are put into, each with the node that uses it."""
    waiting: list[tuple[Edge, Node | None]] = [(edge, None) for edge in starts]
    seen = set(starts)
    while waiting and len(seen) < _FEW_NODES:
        edge, above = waiting.pop()
        shape = output_shape(edge)
        size = output_size(edge)
        if shape is None or size > MOST_ENTRIES or max(shape, default=1) < size:
            continue
        if len(shape) == 1 and stacks_below(edge[0]):
            yield edge, above
        for child in children(edge[0]):
            if child not in seen:
                seen.add(child)
                waiting.append((child, edge[0]))


def stacks_below(node: Node) -> list[Node]:
    """The nodes that put scalars into this vector, below its weights."""
    found, waiting = [], [node]
    seen = {node}
    while waiting:
        here = waiting.pop()
        below = children(here)
        if here.name() == "StackBackward0" or (here.name() == COPY_SLICES and output_size(below[-1]) == 1):
            found.append(here)
        if here.name() == "CatBackward0" and all(output_size(edge) == 1 for edge in below):
            # Scalars are given a dimension before they are put end to end.
            found += [child for child, _ in below]
        if here.name() in ELEMENTWISE or here.name() == COPY_SLICES:
            waiting += [child for child, _ in below if child not in seen]
            seen.update(child for child, _ in below)
    return found
