"""How a loss comes apart, remembered for the losses of later steps: most are the same graph, with the same names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dominance.record.tasks.graph import (
    COPY_SLICES,
    DDP_SINK,
    REENTRANT,
    Edge,
    Node,
    output_shape,
    output_size,
    structure,
)
from dominance.record.tasks.naming import Names
from dominance.record.tasks.questions import Noted
from dominance.record.tasks.sources import stack_of
from dominance.record.tasks.splitting import Term
from dominance.record.tasks.weights import Root

_NOT_TOLD = {COPY_SLICES, DDP_SINK, REENTRANT}
"""Nodes that hold more than their names and children tell."""
_MOST_TOLD = 500_000
"""So many words and numbers are kept of the looks of all graphs."""
_MOST_MISSES = 8
"""As often as this in a row a graph may be the same and the answers are not, before it is not tried any more."""


@dataclass
class TaskPlan:
    """What is decided once for all losses of the same structure: which terms form which task, and the names."""

    tasks: list[tuple[str, list[int]]]
    residual: list[str]
    separate: list[str]
    beside: list[tuple[str, list[int]]] = field(default_factory=list)
    """The terms of ``residual`` and ``separate``."""
    words: list[str] = field(default_factory=list)
    one: bool = False
    """Whether the terms are summands of one loss that alone has a name, as a critic's of real and fake samples."""


@dataclass
class TakenApart:
    """How one loss comes apart, as far as its structure and the names around it tell."""

    root_name: str | None
    terms: list[Term]
    reached: Sequence[frozenset[int]]
    """Ids of the parameters below each term."""
    plan: TaskPlan
    expanded: bool
    nameless: bool
    anonymous: bool
    """Whether the script holds none of the terms by a name."""
    lasting: bool
    """Whether nothing but the graph, the names in it and what is asked of its nodes has decided it."""
    made: tuple[int, ...] = ()
    """See ``made_in_turn``."""
    above: dict[tuple[int, ...], list[frozenset[int]]] = field(default_factory=dict)
    """Of some of the terms, which of them lie above each: as far as anybody has asked."""


def made_in_turn(
    terms: Sequence[Term], names: Sequence[str | None], reached: Sequence[frozenset[int]]
) -> tuple[int, ...]:
    """The positions of terms without a name that nothing else tells apart, in the order in which they were made.

    Two losses of one output that a function has added up the other way round look the same but for that.
    """
    looks = [(term.kind, below) for term, below in zip(terms, reached, strict=True)]
    alike = [i for i, name in enumerate(names) if name is None and looks.count(looks[i]) > 1]
    return _in_turn(terms, alike)


def _in_turn(terms: Sequence[Term], positions: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(positions, key=lambda i: (terms[i].node._sequence_nr(), i)))


@dataclass
class GraphLook:
    """A graph as far as the names of its nodes tell, and how they hang together; with what the script calls them."""

    nodes: list[Node]
    places: dict[Node, int]
    told: Hashable
    size: int
    """How many words and numbers it is told by."""


def look_at(roots: Sequence[Root], names: Names, beside: Hashable) -> GraphLook | None:
    """The look of the graph below these, in one walk; None where it holds more than can be told so.

    Args:
        roots: what backward() is called on.
        names: the live tensors around the call.
        beside: what else has to be the same.
    """
    if any(root.gradient.numel() != 1 for root in roots):
        return None  # of a gradient made by hand the numbers count
    starts = [root.edge for root in roots]
    graph = structure((node for node, _ in starts), _mark)
    if graph is None:
        return None
    edges = tuple((graph.places[node], output) for node, output in starts)
    told = ((*edges, *graph.told), _called(names, graph.places), beside)
    return GraphLook(graph.nodes, graph.places, told, len(edges) + len(graph.told))


def _mark(node: Node) -> Hashable:
    name: str = node.name()
    if name == "SelectBackward0":
        return name, _picked(node)
    return None if name in _NOT_TOLD else name


def _picked(node: Node) -> Hashable:
    """Which entry of a vector it is; from the end where it is told so, and then of how many."""
    index = int(node._saved_index)
    return index if index < 2**63 else (index, *map(int, node._saved_self_sym_sizes))


def _called(names: Names, places: Mapping[Node, int]) -> Hashable:
    """What the script calls what is in a graph."""

    def there(held: Mapping[Edge, Any], told: Callable[[Any], Hashable] = lambda name: name) -> Hashable:
        return tuple((places[node], output, told(held[node, output])) for node, output in held if node in places)

    numbers: dict[int, int] = {}

    def item(of: tuple[int, str, bool]) -> Hashable:
        # A container is another object in every step.
        number = numbers.setdefault(of[0], len(numbers))
        return number, of[1], of[2], names.sizes.get(of[0]), of[0] in names.keyed

    called = there(names.variables), there(names.vectors), there(names.items, item), there(names.outer, tuple)
    return called, names.place, tuple(names.task_lists)


@dataclass
class _Known:
    """One loss that came apart, without its nodes: these are told by their places."""

    apart: TakenApart
    terms: list[tuple[int, Term]]
    """Each with the place of its node; the edge has the output alone, above is the place of that node."""
    answers: list[tuple[Callable[[Any], Any], int, int | None, Any]]
    """Of each question the place of the node, and the output where it is asked of an edge."""


class Remembered:
    """The losses that came apart without any source lines, so that they come apart in the same way again.

    What decides how one comes apart: its graph, what the script calls what is in it, and some questions that were asked
    of its nodes, which are asked again.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, list[_Known]] = {}
        self._misses: dict[Hashable, int] = {}
        self._told = 0

    def recall(self, look: GraphLook) -> TakenApart | None:
        """How the same loss came apart before, in terms of this graph; None where it has not been met."""
        for known in self._known.get(look.told, ()):
            if all(ask(_about(look, place, output)) == answer for ask, place, output, answer in known.answers):
                self._misses[look.told] = 0
                terms = [_placed(look, *each) for each in known.terms]
                if _in_turn(terms, known.apart.made) == known.apart.made:
                    return dataclasses.replace(known.apart, terms=terms)
        return None

    def learn(self, look: GraphLook | None, found: Sequence[TakenApart], noted: Noted) -> None:
        """A loss has been taken apart in the usual way.

        Args:
            look: of its graph; None: it cannot be told again.
            found: how it came apart, if it did.
            noted: what was asked meanwhile.
        """
        if any(ask is stack_of and answer for (ask, _), answer in noted.items()):
            # The source told it, and what was learned from it may tell more of others.
            self._clear()
        elif look is not None and self._misses.get(look.told, 0) < _MOST_MISSES:
            for apart in found:
                if apart.lasting:
                    self._keep(look, apart, noted)

    def _keep(self, look: GraphLook, apart: TakenApart, noted: Noted) -> None:
        if look.told not in self._known:
            if self._told + look.size > _MOST_TOLD:
                self._clear()
            if look.size > _MOST_TOLD:
                return
            self._told += look.size
        answers: list[tuple[Callable[[Any], Any], int, int | None, Any]] = []
        for (ask, about), answer in noted.items():
            if ask is output_size and (output_shape, about) in noted:
                continue  # the shape tells it
            node, output = about if isinstance(about, tuple) else (about, None)
            if node not in look.places:
                return
            answers.append((ask, look.places[node], output, answer))
        terms = []
        for term in apart.terms:
            above = None if term.above is None else look.places[term.above]
            terms.append((look.places[term.node], Term((None, term.edge[1]), term.path, term.kind, above)))
        self._misses[look.told] = self._misses.get(look.told, 0) + 1
        self._known.setdefault(look.told, []).append(_Known(dataclasses.replace(apart, terms=[]), terms, answers))

    def _clear(self) -> None:
        self._known.clear()
        self._misses.clear()
        self._told = 0


def _about(look: GraphLook, place: int, output: int | None) -> Any:
    node = look.nodes[place]
    return node if output is None else (node, output)


def _placed(look: GraphLook, place: int, term: Term) -> Term:
    above = None if term.above is None else look.nodes[term.above]
    return Term((look.nodes[place], term.edge[1]), term.path, term.kind, above)
