"""The linear top of a loss: the walk from its root down to the terms that it is a weighted sum of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from dominance.record.tasks.graph import (
    ACCUMULATE,
    COPY_SLICES,
    DDP_SINK,
    ELEMENTWISE,
    LINEAR,
    PRODUCTS,
    QUOTIENTS,
    Edge,
    Node,
    below_sink,
    output_shape,
    output_size,
)


@dataclass(frozen=True)
class Term:
    """One term of a loss: an edge below the linear top of its graph, and the way there.

    ``path`` holds, from the root down, the child taken at each node; with ``kind`` it tells the same term again in
    the graph of a later step.
    """

    edge: Edge
    path: tuple[int, ...]
    kind: str
    above: Node | None = field(default=None, compare=False)
    """The node that uses it, the first one met."""

    @property
    def node(self) -> Node:
        return self.edge[0]


# A function of losses is made of a handful of nodes; a network is not.
_FEW_NODES = 200

IsNamed = Callable[[Edge, tuple[int, ...], Node | None], bool]
Descent = tuple[int, Edge, int | None]
"""Which child, its edge, and which entry of the vector there is meant (None: all of it)."""


@dataclass
class _Visit:
    """One edge on the way down, and the one before it."""

    edge: Edge
    path: tuple[int, ...]
    above: _Visit | None
    entry: int | None = None
    beside: bool = False
    """Whether the loss has come apart by here: something else that carries a loss is added to this."""


Joins = Callable[["Splitter", Edge, tuple[int, ...], Node | None], bool]


class Splitter:
    """Walks from the root of a loss through linear nodes down to its terms.

    Args:
        carries_loss: whether the graph below a node is made from data or reaches a parameter of interest, so that of
            two factors the one that does not is a weight.
        named: whether the tensor at this edge, reached on this path from this node, is a loss of its own: there the
            walk stops.
        loss_like: whether a vector at this edge is a loss per sample, so that a sum of vectors is a sum of losses.
        lifts: whether the scalar at this edge is a value that a statement or a function made: it is the loss, and
            not what it was computed from, where it holds that one term alone.
        joins: whether the scalar at this edge, a summand of the loss, is one value that is a sum inside; it is given
            the splitter, since one that it knew itself would keep itself, and the tensors it knows, alive.
    """

    def __init__(
        self,
        carries_loss: Callable[[Node], bool],
        named: IsNamed,
        loss_like: Callable[[Edge], bool],
        lifts: IsNamed | None = None,
        joins: Joins | None = None,
    ) -> None:
        self._carries_loss = carries_loss
        self._named = named
        self._loss_like = loss_like
        self._lifts = lifts
        self._joins = joins

    def terms(self, root: Edge, path: tuple[int, ...] = ()) -> list[Term]:
        """The terms below ``root``; the root itself when it does not come apart. Each edge is listed once."""
        found: dict[Edge, _Visit] = {}
        stopped: set[Edge] = set()
        arrivals: dict[Edge, int] = {}
        seen: set[tuple[Edge, int | None]] = set()
        stack = [_Visit(root, path, None)]
        while stack:
            visit = stack.pop()
            edge = visit.edge
            arrivals[edge] = arrivals.get(edge, 0) + 1
            if (edge, visit.entry) in seen:
                continue
            seen.add((edge, visit.entry))
            if visit.above is not None and (self._stops(visit) or self._is_joined(visit)):
                stopped.add(edge)
                found[edge] = visit
                continue
            below = self._summands(edge, visit.entry)
            if not below:
                whole = _whole(visit)
                found.setdefault(whole.edge, whole)
            beside = visit.beside or self._several(below)
            # Reversed, so that terms come out in the order they are written in.
            for position, child, entry in reversed(below):
                place = () if entry is None else (entry,)
                stack.append(_Visit(child, (*visit.path, position, *place), visit, entry, beside))
        visits = [visit if edge in stopped else self._lift(visit, arrivals) for edge, visit in found.items()]
        return [_term(visit) for visit in visits]

    def _lift(self, visit: _Visit, arrivals: dict[Edge, int]) -> _Visit:
        """The highest value above a term that holds this term alone, and is the only way to it."""
        if self._lifts is None:
            return visit
        best, here = visit, visit
        while here.above is not None and here.above.above is not None and arrivals[here.edge] == 1:
            here = here.above
            if here.above is None or len(self._summands(here.edge, here.entry)) > 1:
                break
            if output_size(here.edge) == 1 and self._lifts(here.edge, here.path, here.above.edge[0]):
                best = here
        return best

    def _stops(self, visit: _Visit) -> bool:
        """The user named this tensor: it is a term, unless it is a vector of several losses."""
        above = None if visit.above is None else visit.above.edge[0]
        if visit.entry is not None or not self._named(visit.edge, visit.path, above):
            return False
        return output_size(visit.edge) == 1 or not self._deeper(visit.edge)

    def _several(self, below: list[Descent]) -> bool:
        """Whether more than one of the summands carries a loss."""
        if self._joins is None or len(below) < 2:
            return False
        return len(list(islice((child for _, child, _ in below if self._carries_loss(child[0])), 2))) == 2

    def _is_joined(self, visit: _Visit) -> bool:
        """Whether a summand of the loss is one value: its own sum is not gone into."""
        if self._joins is None or not visit.beside or visit.entry is not None or visit.above is None:
            return False
        return output_size(visit.edge) == 1 and self._joins(self, visit.edge, visit.path, visit.above.edge[0])

    def _summands(self, edge: Edge, entry: int | None = None) -> list[Descent]:
        """The children to go on to, with their positions; none where the walk must stop."""
        node, _ = edge
        below = self._entries(edge, entry)
        if not below:
            return []
        if output_size(edge) != 1:
            return below if entry is not None or self._vector_comes_apart(node, below) else []
        if len(below) == 1 and output_size(below[0][1]) != 1 and not self._deeper(below[0][1]):
            # A reduction over one loss per sample: the reduced scalar is the loss.
            return []
        return below

    def _entries(self, edge: Edge, entry: int | None) -> list[Descent]:
        """The children that a node is linear in; where one entry of a vector is meant, those that make that entry."""
        node, output = edge
        name = node.name()
        if name == DDP_SINK:
            return [(i, child, entry) for i, child in below_sink(edge)]
        below = [(i, node.next_functions[i]) for i in self._linear_inputs(node)]
        below = [(i, (child, number)) for i, (child, number) in below if child is not None]
        if name in ("SelectBackward0", "UnbindBackward0") and entry is None and len(below) == 1:
            shape = output_shape(below[0][1])
            if shape is not None and len(shape) == 1:
                place = int(node._saved_index) if name == "SelectBackward0" else output
                return [(below[0][0], below[0][1], _wrapped(place, shape[0]))]
        if entry is None:
            return [(i, child, None) for i, child in below]
        if name == "StackBackward0":
            return [(i, child, None) for i, child in below if i == entry]
        if name in ELEMENTWISE:
            size = output_size(edge)
            return [(i, child, entry if output_size(child) == size else None) for i, child in below]
        return [(i, child, None) for i, child in below]

    def _linear_inputs(self, node: Node) -> list[int]:
        name = node.name()
        count = len(node.next_functions)
        if name in LINEAR:
            listed = LINEAR[name]
            return list(range(count)) if listed is None else [i for i in listed if i < count]
        if name in QUOTIENTS:
            denominator = node.next_functions[1][0] if count > 1 else None
            return [0] if denominator is None or not self._carries_loss(denominator) else []
        if name in PRODUCTS:
            loaded = [i for i, (child, _) in enumerate(node.next_functions) if child is not None]
            if len(loaded) == 2:
                loaded = [i for i in loaded if self._carries_loss(node.next_functions[i][0])]
            return loaded if len(loaded) == 1 else []
        return []

    def _deeper(self, edge: Edge) -> bool:
        """Whether the vector at ``edge`` comes apart into several losses."""
        below = self._summands(edge)
        return len(below) > 1 or (len(below) == 1 and (output_size(below[0][1]) == 1 or self._deeper(below[0][1])))

    def _vector_comes_apart(self, node: Node, below: list[Descent]) -> bool:
        """A vector is a sum of losses when it stacks scalars, or adds losses per sample; never inside a network."""
        if node.name() == COPY_SLICES:
            return all(output_size(child) == 1 or child[0].name() == COPY_SLICES for _, child, _ in below)
        holding = [self._holds_losses(child) for _, child, _ in below]
        spare = [not self._carries_loss(child[0]) for _, child, _ in below]
        return any(holding) and all(a or b for a, b in zip(holding, spare, strict=True))

    def named_below(self, term: Term) -> list[Term]:
        """The scalars that a term is any function of: those with names, and the entries of a vector of losses.

        The derivative of a function of losses is a weighted sum of their gradients, linear or not: a maximum, a
        logarithm, a product come apart as a sum does. Empty unless they account for all of its data, and where data
        divide data: parts of a ratio (an overlap and an area) are no losses.
        """
        found: dict[Edge, Term] = {}
        seen = {term.edge}
        stack = [(term.edge, term.path)]
        while stack:
            (node, _), path = stack.pop()
            if node.name() == ACCUMULATE or len(seen) > _FEW_NODES:
                return []
            goes_on = False
            for position, (child, output) in enumerate(node.next_functions):
                edge, below = (child, output), (*path, position)
                if child is None:
                    continue
                if edge in seen:
                    goes_on = True
                    continue
                seen.add(edge)
                if output_size(edge) == 1 and self._named(edge, below, node):
                    found[edge] = Term(edge, below, child.name(), node)
                    goes_on = True
                elif _stacks_scalars(child):
                    found |= {each.edge: each for each in self.terms(edge, below) if self._carries_loss(each.node)}
                    goes_on = True
                elif self._carries_loss(child):
                    if node.name() in QUOTIENTS and position == 1:
                        return []
                    stack.append((edge, below))
                    goes_on = True
            if not goes_on:
                # Here data come in that no loss among those found accounts for: a layer of the network.
                return []
        return sorted(found.values(), key=lambda each: each.path)

    def _holds_losses(self, edge: Edge) -> bool:
        """Whether the tensor at ``edge`` is a scalar, one loss per sample (perhaps weighted), or a stack of losses."""
        if output_size(edge) == 1 or self._loss_like(edge) or self._deeper(edge):
            return True
        below = [edge[0].next_functions[i] for i in self._linear_inputs(edge[0])]
        below = [child for child in below if child[0] is not None]
        return len(below) == 1 and self._holds_losses(below[0])


def _term(visit: _Visit) -> Term:
    above = None if visit.above is None else visit.above.edge[0]
    return Term(visit.edge, visit.path, visit.edge[0].name(), above)


def _whole(visit: _Visit) -> _Visit:
    """The visit itself, or the scalar that picks its entry out of a vector."""
    while visit.entry is not None and visit.above is not None:
        visit = visit.above
    return visit


def _wrapped(index: int, size: int) -> int:
    """An index as saved (unsigned), from the front."""
    index = index - 2**64 if index >= 2**63 else index
    return index + size if index < 0 else index


def _stacks_scalars(node: Node) -> bool:
    """Whether a node makes a vector of several scalars, as a network hardly ever does."""
    if node.name() == COPY_SLICES:
        return len(node.next_functions) > 1 and node.next_functions[-1][0] is not None
    if node.name() not in ("StackBackward0", "CatBackward0"):
        return False
    given = [(child, output) for child, output in node.next_functions if child is not None]
    return len(given) > 1 and all(output_size(edge) == 1 for edge in given)
