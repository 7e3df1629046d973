"""Which scalars of a loss's graph are values of their own, told by the source or by what looks the same."""

from __future__ import annotations

from collections.abc import Sequence

from dominance.record.tasks.graph import ACCUMULATE, Edge, Fingerprint, Node, fingerprint, output_size
from dominance.record.tasks.sources import name_of_value, stack_of, value_of
from dominance.record.tasks.splitting import Term


class Values:
    """Which scalars are values of their own: those that a statement gave a name, or one call of torch made.

    The places in the source that tell it are kept for some forwards only; the look of the graph tells it in others.
    """

    def __init__(self) -> None:
        self._places: set[tuple[tuple[int, ...], str]] = set()
        self._ends: set[Fingerprint] = set()
        self._inner: set[Fingerprint] = set()
        self._whole: set[Fingerprint] = set()
        self._named: set[Fingerprint] = set()
        self._own: set[Fingerprint] = set()

    def is_own(self, edge: Edge, above: Node | None) -> bool:
        """Whether a statement or a function made this scalar, also where only its look tells."""
        if not stack_of(edge[0]):
            return fingerprint(edge[0]) in self._own
        own = value_of(edge[0], above) is not None
        if own:
            self._own.add(fingerprint(edge[0]))
        return own

    def has_name(self, edge: Edge, above: Node | None) -> bool:
        """Whether a statement gave this scalar a name, or a density's ``log_prob`` returned it.

        A parameter of one element has none.
        """
        if output_size(edge) != 1 or edge[0].name() == ACCUMULATE:
            return False
        look = fingerprint(edge[0])
        if not stack_of(edge[0]):
            return look in self._named
        value = value_of(edge[0], above)
        named = value is not None and (value.is_density or name_of_value(value) is not None)
        if named:
            self._named.add(look)
        return named

    def ends(self, edge: Edge, path: tuple[int, ...], above: Node | None) -> bool:
        """Whether the walk down a loss ends at this scalar."""
        node, _ = edge
        if output_size(edge) != 1:
            return False
        if not stack_of(node):
            look = fingerprint(node)
            return (path, node.name()) in self._places or (look in self._ends and look not in self._inner)
        value = value_of(node, above)
        one = value is not None and (value.of_torch or value.is_density)
        ends = value is not None and (one or name_of_value(value) is not None)
        (self._ends if ends else self._inner).add(fingerprint(node))
        if ends:
            self._places.add((path, node.name()))
            if one:
                self._whole.add(fingerprint(node))
        return ends

    def is_value(self, edge: Edge, path: tuple[int, ...], above: Node | None) -> bool:
        """Whether a statement or a function made this scalar; known from the source alone."""
        return value_of(edge[0], above) is not None

    def one_call(self, edge: Edge) -> bool:
        """Whether one call of a function of torch, or of a density's ``log_prob``, made this scalar, whatever it is a
        sum of inside."""
        stack = stack_of(edge[0])
        if stack and stack[-1].in_torch:
            self._whole.add(fingerprint(edge[0]))
            return True
        return fingerprint(edge[0]) in self._whole

    def is_handed(self, edge: Edge, above: Node | None) -> bool | None:
        """Whether a function of an installed package returned this scalar; None where the source does not tell."""
        if not stack_of(edge[0]):
            return None
        value = value_of(edge[0], above)
        return value is not None and value.is_handed

    def are_losses(self, terms: Sequence[Term]) -> bool:
        """Whether statements call each of several terms a loss, and each by another name."""
        values = [value_of(term.node, term.above) for term in terms]
        names = [None if value is None else name_of_value(value) for value in values]
        return len(set(names)) == len(names) and all(name is not None and "loss" in name.lower() for name in names)

    def keep(self, terms: Sequence[Term]) -> None:
        """The walk of a forward whose source is known has come to these terms."""
        for term in terms:
            if output_size(term.edge) == 1 and stack_of(term.node):
                look = fingerprint(term.node)
                self._ends.add(look)
                self._inner.discard(look)
                self._places.add((term.path, term.kind))
