"""The terms that a loss is split into: each is counted once, by autograd edge and weight."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from dominance.record.tasks.assigned import Values
from dominance.record.tasks.evidence import Evidence
from dominance.record.tasks.graph import (
    POINTWISE_LOSSES,
    Edge,
    Fingerprint,
    Node,
    children,
    fingerprint,
    head,
    positions_above,
    walk,
)
from dominance.record.tasks.means import is_mean
from dominance.record.tasks.naming import Names
from dominance.record.tasks.splitting import IsNamed, Splitter, Term
from dominance.record.tasks.stacked import stacks_below
from dominance.record.tasks.weights import Root

_LOSS_NODES = (*POINTWISE_LOSSES, "KlDiv", "CtcLoss")
_CURVES = {
    "LogBackward0", "Log1PBackward0", "Log2Backward0", "Log10Backward0", "PowBackward0", "SqrtBackward0",
    "ExpBackward0", "ClampBackward0", "ClampBackward1", "ClampMinBackward0", "ClampMaxBackward0", "AddBackward0",
}  # fmt: skip
_MOST_ROUNDS = 20


class TermFinder:
    """Takes losses apart into terms of which none lies below another."""

    def __init__(self) -> None:
        self._values = Values()
        self._joined: set[Fingerprint] = set()
        """The looks of what installed functions return as one loss among others, though it is a sum inside."""

    def terms(
        self, roots: Sequence[Root], names: Names, parameters: set[int], touches: Evidence, *, whole: bool
    ) -> tuple[list[Term], bool]:
        """The terms of all roots, and whether a lone root was taken apart below a sum that has a name.

        Args:
            roots: what backward() was called on.
            names: the live tensors around the call.
            parameters: ids of the recorded parameters.
            touches: what is made from data, and not from parameters alone.
            whole: whether each root stays one term; a weight in front of a loss is looked through all the same.
        """
        splitter = self._splitter(roots, names, parameters, touches)
        terms: list[Term] = []
        for position, root in enumerate(roots):
            path = (position,) if len(roots) > 1 else ()
            if self._values.one_call(root.edge):
                terms.append(Term(root.edge, path, root.edge[0].name()))
            else:
                terms += self._of_root(Term(root.edge, path, root.edge[0].name()), splitter, names)
        terms = list({term.edge: term for term in terms}.values())
        self._values.keep(terms)
        if whole:
            each = [Term(r.edge, (i,) if len(roots) > 1 else (), r.edge[0].name()) for i, r in enumerate(roots)]
            return (terms if len(terms) == len(roots) == 1 else each), False
        live = self.live(names, touches)
        bare = self.live(names, touches, gone=False)
        terms = self._inside(terms, names, live, bare)
        expanded = len(roots) == 1 and len(terms) > 1
        terms, further = self._while_alone(terms, splitter, live, touches)
        if further:
            terms = self._inside(terms, names, live, bare)
        return self._apart(terms, splitter), expanded or further

    def _inside(self, terms: list[Term], names: Names, live: Splitter, bare: Splitter) -> list[Term]:
        """The same, where a term that is itself a function of named losses is those losses."""
        found = []
        for term in terms:
            # Beside others, what a function returned is one loss: its locals are what it is worked out from.
            own = len(terms) > 1 and self._values.is_own(term.edge, term.above)
            if names.is_known(term.edge) or self._is_one(term.edge):
                found.append(term)
                continue
            below = (bare if own else live).named_below(term)
            found += below if len(below) > 1 or (below and _is_curve_of(term, below[0])) else [term]
        # Two functions of one vector of losses, as its sum and its maximum, are made of the same losses.
        return list({term.edge: term for term in found}.values())

    def _is_one(self, edge: Edge) -> bool:
        """Whether one call made this scalar, or it was found to be one loss among others."""
        return self._values.one_call(edge) or fingerprint(edge[0]) in self._joined

    def _of_root(self, root: Term, splitter: Splitter, names: Names) -> list[Term]:
        """The terms of one root: itself where it is a mean, or a scaled reduction with a name and no weighted loss."""
        below = splitter.terms(root.edge, root.path)
        if len(below) == 1 and is_mean(root.edge):
            return [root]
        if len(below) != 1 or below[0].edge == root.edge or root.edge not in names.variables:
            return below
        only, values = below[0], self._values
        place = (only.edge, only.path, only.above)
        is_loss = names.is_known(only.edge) or values.ends(*place) or values.is_value(*place)
        return below if is_loss else [root]

    def live(self, names: Names, touches: Evidence, *, gone: bool = True) -> Splitter:
        """Finds the scalars that the script holds by name now, or (``gone``) held in a function that has returned."""

        def named(edge: Edge, path: tuple[int, ...], above: Node | None) -> bool:
            return names.is_scalar(edge) or (gone and self._values.has_name(edge, above))

        return Splitter(touches, named, lambda edge: False, self._lifts(names))

    def _lifts(self, names: Names) -> IsNamed:
        """Whether a scalar is a value of its own: what was put into a vector that has a name is the loss, whatever it
        was computed from."""
        stacks = {node for vector in names.vectors for node in stacks_below(vector[0])}
        return lambda edge, path, above: above in stacks or self._values.is_value(edge, path, above) or is_mean(edge)

    def _splitter(self, roots: Sequence[Root], names: Names, parameters: set[int], touches: Evidence) -> Splitter:
        known: set[Node] = set()
        if not any(touches(root.edge[0]) for root in roots):
            # A problem without data (a function of the parameters alone): what has a name is no weight.
            own = {root.edge for root in roots}
            known = {edge[0] for edge in (*names.variables, *names.items) if edge not in own}
            vectors = {edge[0] for edge in names.vectors if edge not in own}
            known |= vectors | {node for node in walk([root.edge[0] for root in roots]) if _entry_of_any(node, vectors)}

        def named(edge: Edge, path: tuple[int, ...], above: Node | None) -> bool:
            return names.is_known(edge) or self._values.ends(edge, path, above)

        def loss_like(edge: Edge) -> bool:
            return edge in names.vectors or edge[0].name().startswith(_LOSS_NODES)

        def joins(splitter: Splitter, edge: Edge, path: tuple[int, ...], above: Node | None) -> bool:
            handed = self._values.is_handed(edge, above)
            if handed is None:
                return fingerprint(edge[0]) in self._joined
            if not handed:
                return False
            parts = [part for part in splitter.terms(edge, path) if touches(part.node)]
            one = len(parts) > 1 and not any(names.is_scalar(part.edge) for part in parts)
            one = one and len({head(part.node, parameters) for part in parts}) == 1
            one = one and not self._values.are_losses(parts)
            (self._joined.add if one else self._joined.discard)(fingerprint(edge[0]))
            return one

        return Splitter(lambda node: touches(node) or node in known, named, loss_like, self._lifts(names), joins)

    def _while_alone(
        self, terms: list[Term], splitter: Splitter, live: Splitter, touches: Evidence
    ) -> tuple[list[Term], bool]:
        """Go on below a named sum for as long as it is the only task."""
        expanded = False
        while True:
            # Two are enough to know that none is alone: each look can go through the whole graph.
            loaded = list(islice((term for term in terms if touches(term.node)), 2))
            if len(loaded) != 1 and len(terms) != 1:
                return terms, expanded
            only = loaded[0] if len(loaded) == 1 else terms[0]
            below = [only]
            while len(below) == 1 and not self._values.one_call(below[0].edge):
                inner = splitter.terms(below[0].edge, below[0].path)
                if [term.edge for term in inner] == [below[0].edge]:
                    below = live.named_below(below[0])
                    break
                below = inner
            if len(below) < 2:
                return terms, expanded
            self._values.keep(below)
            place = terms.index(only)
            terms = terms[:place] + below + terms[place + 1 :]
            expanded = True

    def _apart(self, terms: list[Term], splitter: Splitter) -> list[Term]:
        """Split the terms that lie above another, where they are sums: each is then counted where it is made."""
        for _ in range(_MOST_ROUNDS):
            over = {u for above in positions_above([term.edge for term in terms]) for u in above}
            split = {u: splitter.terms(terms[u].edge, terms[u].path) for u in over}
            split = {u: below for u, below in split.items() if [term.edge for term in below] != [terms[u].edge]}
            if not split:
                break
            spread = [t for i, term in enumerate(terms) for t in split.get(i, [term])]
            terms = list({term.edge: term for term in spread}.values())
        return terms


def _is_curve_of(term: Term, loss: Term) -> bool:
    """Whether a term is one loss that went through a logarithm, a power, a bound: its derivative is the weight."""
    node = term.node
    while node is not loss.node and node.name() in _CURVES and len(children(node)) == 1:
        node = children(node)[0][0]
    return bool(node is loss.node)


def _entry_of_any(node: Node, vectors: set[Node]) -> bool:
    """Whether a node takes an entry out of one of these vectors."""
    return node.name() in ("SelectBackward0", "UnbindBackward0") and node.next_functions[0][0] in vectors
