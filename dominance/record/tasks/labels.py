"""What the terms of a loss are called, and which of them are one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.record.tasks.batch_rows import rows_read
from dominance.record.tasks.graph import Edge, head, leaves, like, output_shape, private_parameters
from dominance.record.tasks.looks import Looks
from dominance.record.tasks.naming import Names
from dominance.record.tasks.sources import GENERIC, Place, Source, source_of
from dominance.record.tasks.splitting import Term
from dominance.record.tasks.stacked import MOST_ENTRIES

_PATIENCE = 3
"""Steps whose losses wait for source lines, before they are named without."""
_MOST_LOSSES = 64
"""The same in losses, where steps cannot be told."""


class Unnamed(Exception):
    """The terms of this loss have no names until a forward has kept its source lines."""


@dataclass(frozen=True)
class Label:
    """The name of one term."""

    name: str
    repeatable: bool
    """Whether the term could be one repeat of many: a sample, a time step."""
    trace: tuple[Place, ...] | None = None
    """The places in the source that made the term."""
    place: object = None
    """The innermost place of the script that made it, where no statement names it there."""


class TermLabeller:
    """Names terms, and calls a term that looks the same the same in every step."""

    def __init__(self) -> None:
        self._known: Looks[Label] = Looks(lambda label: label.name)
        self._of_head: dict[frozenset[int], Label | None] = {}
        """The label of the one loss that has this head; None where several have it."""
        self._waited = 0
        self._steps: set[int] = set()
        self.lines_asked = False
        """Whether a loss of new structure came up that only its source lines can name."""
        self.lines_seen = False
        """Whether any forward has kept its source lines."""

    def labels(
        self, terms: Sequence[Term], names: Names, parameters: set[int], inner: Mapping[Edge, list[str]]
    ) -> list[Label]:
        """One label for each term.

        Args:
            terms: those of one backward() call.
            names: the live tensors around the call.
            parameters: ids of the recorded parameters.
            inner: names of the losses that unnamed terms are functions of: the logarithm of a loss is still that task.

        Raises:
            Unnamed: only a forward that keeps its source lines can tell.
        """
        sources = [source_of(term.node, term.above) for term in terms]
        self.lines_seen = self.lines_seen or any(source is not None for source in sources)
        entries = vector_entries([term.edge for term in terms], names)
        labels = []
        for position, (term, (name, in_order)) in enumerate(
            zip(terms, names.choose([term.edge for term in terms]), strict=True)
        ):
            source = sources[position]
            trace = None if source is None else source.trace
            if name is not None and not (name.lower() in GENERIC and _in_a_loop(source, sources)):
                labels.append(Label(name, in_order, trace))
            elif term.edge in entries and not (source is not None and source.assigned):
                labels.append(self._entry(term, entries[term.edge], trace, parameters))
            elif len(below := inner.get(term.edge, [])) == 1:
                labels.append(Label(below[0], False, trace))
            elif source is not None and not source.assigned and (known := self._seen(term, terms, parameters)):
                # Its line is known now and its place in the line is not, which told the name before.
                labels.append(Label(known.name, True, trace))
            elif source is not None:
                labels.append(self._keep(term, _from_source(source, sources), head(term.node, parameters)))
            else:
                labels.append(self._without_lines(term, position, names, parameters))
        self._waited = 0
        self._steps.clear()
        return labels

    def _entry(self, term: Term, entry: VectorEntry, trace: tuple[Place, ...] | None, parameters: set[int]) -> Label:
        """The label of an entry of a vector; of one that the script holds no more, what it was called once."""
        label = Label(entry.name, True, trace)
        if entry.live:
            return label
        if trace is not None:
            return self._keep(term, label, head(term.node, parameters))
        known = self.remembered(term) or self._by_head(term, parameters)
        return label if known is None else Label(known.name, True, known.trace)

    def remembered(self, term: Term) -> Label | None:
        """What a term that looks like this one was called."""
        return self._known.of(term.node)

    def _keep(self, term: Term, label: Label, own: frozenset[int]) -> Label:
        """The label, remembered for terms that look like this one, or have its head."""
        known = self._of_head.setdefault(own, label) if own else None
        if known is not None and known.name != label.name:
            self._of_head[own] = None
        self._known.keep(term.node, label)
        return label

    def _seen(self, term: Term, terms: Sequence[Term], parameters: set[int]) -> Label | None:
        known = self._known.exactly(term.node)
        if known is None and sum(head(each.node, parameters) == head(term.node, parameters) for each in terms) == 1:
            known = self._by_head(term, parameters)
        return known

    def _by_head(self, term: Term, parameters: set[int]) -> Label | None:
        """What the loss of this head was called: scripted, frozen or thawed, the graph below has changed."""
        return self._of_head.get(head(term.node, parameters))

    def _without_lines(self, term: Term, position: int, names: Names, parameters: set[int]) -> Label:
        known = self.remembered(term)
        if known is not None:
            return Label(known.name, True, known.trace)
        known = self._by_head(term, parameters)
        if known is not None:
            return Label(known.name, True, known.trace)
        torn = self._known.is_torn(term.node)  # two losses of one head: the head's name would be neither's
        own = names.key_of(head(term.node, parameters)) if self.lines_seen and not torn else None
        if own is not None:
            return Label(own, True)
        self.lines_asked = True
        self._waited += 1
        leaf = next(iter(leaves([term.node])), None)
        self._steps.add(0 if leaf is None else leaf._version)
        if len(self._steps) <= _PATIENCE and self._waited <= _MOST_LOSSES:
            raise Unnamed
        return Label(names.key_of(head(term.node, parameters)) or f"term{position + 1}", True)


def _in_a_loop(source: Source | None, sources: Sequence[Source | None]) -> bool:
    """Whether one statement made several of the terms: the variable that holds the last has held the others as well."""
    if source is not None and not source.assigned:
        return sum(1 for each in sources if each is not None and each.place.is_same(source.place)) > 1
    return False


def _from_source(source: Source, sources: Sequence[Source | None]) -> Label:
    # A function that returns several terms at once names none of them.
    alone = [other.name for other in sources if other is not None].count(source.name) == 1
    name = source.name if alone or source.called is None or source.assigned else source.called
    return Label(name, True, source.trace, None if source.assigned else source.place)


def all_known(terms: Sequence[Term], names: Names) -> bool:
    """Whether the script holds every one of several terms by a name, or in a vector that has one."""
    return len(terms) > 1 and len(held_positions(terms, names)) == len(terms)


def held_positions(terms: Sequence[Term], names: Names) -> list[int]:
    """Which terms the script holds by a name, or in a vector that has one."""
    entries = vector_entries([term.edge for term in terms], names)
    return [i for i, term in enumerate(terms) if names.is_known(term.edge) or term.edge in entries]


@dataclass(frozen=True)
class VectorEntry:
    """The name of an entry of a vector, and whether the script holds the vector now."""

    name: str
    live: bool


def vector_entries(edges: Sequence[Edge], names: Names) -> dict[Edge, VectorEntry]:
    """Names like ``losses[1]`` for terms that are entries of a named vector."""
    entries: dict[Edge, VectorEntry] = {}
    for vector, name in names.vectors.items():
        shape = output_shape(vector)
        if shape is None or len(shape) != 1 or shape[0] > MOST_ENTRIES:
            continue
        # `losses[k] = …` in a loop over the tasks' names: the one list of that length says what they are.
        lists = [words for words in names.task_lists if len(words) == shape[0]]
        for edge, place in _places(vector, [edge for edge in edges if edge != vector]).items():
            called = lists[0][place] if len(lists) == 1 else f"{name}[{place}]"
            entries.setdefault(edge, VectorEntry(called, vector in names.tensors))
    return entries


def _places(vector: Edge, edges: Sequence[Edge]) -> dict[Edge, int]:
    """Which entry of a vector each edge is: the one, and the only one, that passes gradient on to it."""
    picked = {edge: entry[1] for edge in edges if (entry := entry_of(edge, {vector: ""})) is not None}
    below = [edge for edge in edges if edge not in picked]
    if not below:
        return picked
    tensor = like(vector)
    if not any(weight is not None for weight in _pass(vector, torch.ones_like(tensor), below)):
        return picked
    reached: dict[int, list[int]] = {}
    for place in range(tensor.numel()):
        only = torch.zeros_like(tensor)
        only[place] = 1
        weights = _pass(vector, only, below)
        for i, weight in enumerate(weights):
            if weight is not None and bool(weight.any()):
                reached.setdefault(i, []).append(place)
    single = {i: places[0] for i, places in reached.items() if len(places) == 1 and below[i][0] is not None}
    counts = list(single.values())
    found = {below[i]: place for i, place in single.items() if counts.count(place) == 1}
    return found | picked


def _pass(vector: Edge, gradient: Tensor, edges: Sequence[Edge]) -> tuple[Tensor | None, ...]:
    inputs = [GradientEdge(*edge) for edge in edges]
    return torch.autograd.grad([GradientEdge(*vector)], inputs, [gradient], retain_graph=True, allow_unused=True)


def entry_of(edge: Edge, vectors: Mapping[Edge, str]) -> tuple[Edge, int] | None:
    """The named vector that a scalar was picked out of, and its place there: by index, or by going through it."""
    node, output = edge
    name = node.name()
    if name not in ("SelectBackward0", "UnbindBackward0"):
        return None
    vector = node.next_functions[0]
    if vector not in vectors:
        return None
    if name == "UnbindBackward0":
        return vector, output
    index = int(node._saved_index)
    index = index - 2**64 if index >= 2**63 else index
    return vector, index if index >= 0 else index + int(node._saved_self_sym_sizes[0])


def groups(
    terms: Sequence[Term],
    candidates: Sequence[int],
    labels: Sequence[Label],
    *,
    repeats: bool = True,
) -> list[tuple[str, list[int]]]:
    """Terms that are one task together: samples or time steps of one loss, and pieces of one library call.

    Two groups may have one name: see ``Heads`` and ``distinct``.

    Args:
        terms: those of one backward() call.
        candidates: which of them can be tasks.
        labels: one for each term.
        repeats: whether there are samples at all: without data there are none.
    """
    repeatable = [i for i in candidates if labels[i].repeatable] if repeats else []
    private = dict(zip(repeatable, private_parameters([terms[i].node for i in repeatable]), strict=True))
    rows = {i: rows_read(terms[i].node) for i in repeatable}
    found: list[tuple[str, list[int]]] = []
    merged: dict[int, int] = {}
    for i in candidates:
        for first in merged:
            if i in private and first in private and _same_task(terms, labels, private, rows, first, i):
                found[merged[first]][1].append(i)
                break
        else:
            merged[i] = len(found)
            found.append((labels[i].name, [i]))
    return [(name.split("[")[0] if len(members) > 1 else name, members) for name, members in found]


def _same_task(
    terms: Sequence[Term],
    labels: Sequence[Label],
    private: Mapping[int, frozenset[int]],
    rows: Mapping[int, frozenset[Edge]],
    first: int,
    other: int,
) -> bool:
    same_source = labels[first].trace is not None and labels[first].trace == labels[other].trace
    one_container = labels[first].name.split("[")[0] == labels[other].name.split("[")[0]
    makers = {_maker(labels[i]) for i in (first, other)} - {None}
    one_container = one_container and len(makers) < 2
    if terms[first].kind == terms[other].kind:
        # The same net, run again on another sample or time step, eats the same parameters apart from the others;
        # the last time step eats those of the recurrence too.
        one, two = private[first], private[other]
        repeats = bool(one) and bool(two) and (one <= two or two <= one)
        # Or each loss is of a row of its own of one batch.
        repeats = repeats or (bool(rows[first]) and rows[first] == rows[other])
        return repeats and (same_source or one_container)
    # One call of a library function that is a sum itself: label smoothing.
    return same_source and private[first] == private[other]


def _maker(label: Label) -> tuple[object, ...] | None:
    """The function that made a term, where its lines are known: what two functions call alike are two losses."""
    own = [(place.path, place.scope, place.code) for place in label.trace or () if not place.in_torch]
    return own[-1] if own else None


def distinct(found: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """Number the groups that would share a name."""
    counts: dict[str, int] = {}
    for name, _ in found:
        counts[name] = counts.get(name, 0) + 1
    seen: dict[str, int] = {}
    result = []
    for name, members in found:
        seen[name] = seen.get(name, 0) + 1
        result.append((name if counts[name] == 1 else f"{name}.{seen[name]}", members))
    return result
