"""Which scalar belongs to which task: named by the user, or found in the autograd graph of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.record.graph import Edge, Splitter, Term, edge_of, leaves, output_size, private_parameters, touches_data
from dominance.record.naming import Names, source_of
from dominance.record.values import term_value

_LOSS_NODES = (
    "MseLoss", "L1Loss", "SmoothL1", "HuberLoss", "NllLoss", "BinaryCrossEntropy", "KlDiv", "SoftMargin", "CtcLoss",
)  # fmt: skip


@dataclass
class Root:
    """What backward() was called on: one edge, its incoming gradient, and the tensor if it is known."""

    edge: Edge
    gradient: Tensor
    tensor: Tensor | None


@dataclass
class FoundTask:
    """One task of one backward() call."""

    name: str
    edges: list[Edge]
    gradients: list[Tensor]
    """For each edge, the derivative of the root by it: the exact weight of the term."""
    weight: float
    """Sum of the weights: the task's gradient is this times the gradient of its loss."""
    loss: float
    """The task's own loss, unweighted; NaN where its tensor is gone and cannot be worked out again."""


@dataclass
class Found:
    """What one backward() call is made of."""

    root_name: str
    tasks: list[FoundTask]
    residual: list[str]
    """Names of the terms that reach recorded parameters and are no task: regularisers."""
    separate: list[str] = field(default_factory=list)
    """Names of terms made from data that share no parameter with another term."""
    expanded: bool = False
    """Whether the walk went on below a named tensor because it was the only task."""
    total: float = math.nan


@dataclass
class _Plan:
    """What is decided once for all losses of the same structure: which terms form which task, and the names."""

    root: str
    tasks: list[tuple[str, list[int]]]
    residual: list[str]
    separate: list[str]


class Unnamed(Exception):
    """The terms of this loss have no names until a forward has kept its source lines."""


class TaskFinder:
    """Splits the loss of each recorded step into tasks, and gives the same names to the same structure every time.

    Args:
        wanted: the names that the user asked for; terms of other names are then residual.
    """

    def __init__(self, wanted: Sequence[str] | None = None) -> None:
        self._wanted = None if wanted is None else tuple(wanted)
        self._plans: dict[tuple[object, ...], _Plan] = {}
        self._stops: set[tuple[tuple[int, ...], str]] = set()
        self._by_item: dict[tuple[tuple[str, int], str | None], bool] = {}
        self.expand = True
        """Whether a loss that is one named sum is taken apart; not so when every task has its own backward()."""
        self.lines_asked = False
        """Whether a loss of new structure came up that only its source lines can name: recorded forwards keep them."""

    def find(self, roots: Sequence[Root], names: Names, parameters: set[int], observed: Mapping[str, Tensor]) -> Found:
        """Tasks of one backward() call.

        Args:
            roots: the outputs that backward() was called on.
            names: the live tensors around the call.
            parameters: ids of the recorded parameters.
            observed: task name -> loss, as the user told with ``observe``; empty when not told.
        """
        total = sum(float((root.tensor.detach() * root.gradient).sum()) for root in roots if root.tensor is not None)
        root_name = self._live_name(roots[0].edge, names)
        if observed:
            found = self._from_observed(roots, names, observed, root_name)
        else:
            found = self._from_graph(roots, names, parameters, root_name)
        found.total = total if any(root.tensor is not None for root in roots) else math.nan
        return found

    def _live_name(self, edge: Edge, names: Names) -> str | None:
        """What the script calls the loss that backward() is called on, if it has a name."""
        variable = names.variables.get(edge)
        below = edge[0].next_functions[0] if edge[0].name() == "SelectBackward0" else None
        if variable is None and below in names.vectors:
            place, size = int(edge[0]._saved_index), names.tensors[below].numel()
            lists = [words for words in names.task_lists if len(words) == size]
            return lists[0][place] if len(lists) == 1 else f"{names.vectors[below]}[{place}]"
        item = names.items.get(edge)
        if item is not None:
            # `for loss in losses: loss.backward()` names tasks by the list; a list that only collects the history of
            # one loss is still short when the line is first reached, and does not.
            several = self._by_item.setdefault((names.place, variable), names.sizes[item[0]] > 1)
            if several or variable is None:
                return item[1]
        return variable

    def _from_observed(
        self, roots: Sequence[Root], names: Names, observed: Mapping[str, Tensor], root_name: str | None
    ) -> Found:
        edges = {name: edge_of(loss) for name, loss in observed.items()}
        weights = exact_weights(roots, list(edges.values()))
        tasks = []
        for (name, edge), weight in zip(edges.items(), weights, strict=True):
            if weight is not None:
                tasks.append(_task(name, [edge], [weight], [observed[name].detach()]))
        return Found(root_name or "loss", tasks, [])

    def _from_graph(self, roots: Sequence[Root], names: Names, parameters: set[int], root_name: str | None) -> Found:
        terms, expanded = self._terms(roots, names, parameters)
        live = [name for name, _ in names.choose([term.edge for term in terms])]
        signature = (root_name, *((term.path, term.kind, name) for term, name in zip(terms, live, strict=True)))
        plan = self._plans.get(signature)
        if plan is None:
            if root_name is None:
                source = source_of(roots[0].edge[0])
                root_name = source.name if source is not None else "loss"
            plan = self._plans[signature] = self._plan(terms, names, parameters, root_name, single=len(roots) == 1)
        chosen = [position for _, positions in plan.tasks for position in positions]
        weights = dict(zip(chosen, exact_weights(roots, [terms[i].edge for i in chosen]), strict=True))
        # A root that picks one loss out of a vector of them passes no gradient to the others.
        picks = _picks(roots[0])
        whole = {root.edge: root.tensor.detach() for root in roots if root.tensor is not None}
        tasks = []
        for name, positions in plan.tasks:
            weighted = [(terms[i].edge, weights[i]) for i in positions]
            edges = [edge for edge, weight in weighted if weight is not None]
            if edges and not (picks and not any(bool(weight.any()) for _, weight in weighted if weight is not None)):
                values = [whole.get(edge, names.value(edge)) for edge in edges]
                values = [term_value(e[0]) if v is None else v for e, v in zip(edges, values, strict=True)]
                tasks.append(_task(name, edges, [weight for _, weight in weighted if weight is not None], values))
        return Found(plan.root, tasks, plan.residual, plan.separate, expanded)

    def _terms(self, roots: Sequence[Root], names: Names, parameters: set[int]) -> tuple[list[Term], bool]:
        """Terms of all roots, going below a named sum for as long as it is the only task."""

        def loss_like(edge: Edge) -> bool:
            return edge in names.vectors or edge[0].name().startswith(_LOSS_NODES)

        root_edges = {root.edge for root in roots}
        known = {edge[0] for edge in (*names.variables, *names.items) if edge not in root_edges}

        def stops(edge: Edge, path: tuple[int, ...]) -> bool:
            return names.is_known(edge) or self._assigned(edge, path)

        splitter = Splitter(lambda node: touches_data(node, parameters) or node in known, stops, loss_like)
        terms: list[Term] = []
        for position, root in enumerate(roots):
            terms += splitter.terms(root.edge, (position,) if len(roots) > 1 else ())
        if not self.expand or (len(roots) == 1 and _picks(roots[0]) and self._live_name(roots[0].edge, names)):
            # A weight in front of a loss is looked through; a sum stays whole.
            whole = [Term(r.edge, (i,) if len(roots) > 1 else (), r.edge[0].name()) for i, r in enumerate(roots)]
            return (terms if len(terms) == len(roots) == 1 else whole), False
        # A term that is itself a function of several named losses is those losses.
        live = _live_splitter(names, parameters)
        inner = [[] if names.is_known(t.edge) else live.named_below(t) for t in terms]
        terms = [
            each for term, below in zip(terms, inner, strict=True) for each in (below if len(below) > 1 else [term])
        ]
        expanded = len(roots) == 1 and len(terms) > 1
        while True:
            loaded = [term for term in terms if touches_data(term.node, parameters)]
            if len(loaded) != 1 and len(terms) != 1:
                return terms, expanded
            only = loaded[0] if len(loaded) == 1 else terms[0]
            below = splitter.terms(only.edge, only.path)
            if [term.edge for term in below] == [only.edge]:
                below = live.named_below(only)
                if len(below) < 2:
                    return terms, expanded
            place = terms.index(only)
            terms = terms[:place] + below + terms[place + 1 :]
            expanded = True

    def _assigned(self, edge: Edge, path: tuple[int, ...]) -> bool:
        """Whether the script gave this scalar a name in a function that has returned since.

        The source lines are there in the first step only; the place in the graph tells it in later ones.
        """
        if output_size(edge) != 1:
            return False
        place = (path, edge[0].name())
        source = source_of(edge[0])
        if source is not None and source.assigned:
            self._stops.add(place)
        return place in self._stops

    def _plan(self, terms: list[Term], names: Names, parameters: set[int], root_name: str, *, single: bool) -> _Plan:
        whole = single and len(terms) == 1 and not terms[0].path
        labels = self._labels(terms, names, root_name if whole else None, self._inner(terms, names, parameters))
        loaded = [i for i, term in enumerate(terms) if touches_data(term.node, parameters)]
        # Where no term touches data (a loss that is a function of the parameters alone) all of them are tasks.
        candidates = loaded or list(range(len(terms)))
        reach = {
            i: {id(leaf) for leaf in leaves([term.node]) if id(leaf) in parameters} for i, term in enumerate(terms)
        }
        groups = self._groups(terms, candidates, labels)
        groups = [(name, members) for name, members in groups if any(reach[i] for i in members)]
        separate: list[str] = []
        if len(groups) > 1:
            sets = [set().union(*(reach[i] for i in members)) for _, members in groups]
            apart = [
                name
                for position, (name, _) in enumerate(groups)
                if not any(sets[position] & other for j, other in enumerate(sets) if j != position)
            ]
            if len(apart) < len(groups):
                separate = apart
                groups = [group for group in groups if group[0] not in apart]
        grouped = {i for _, members in groups for i in members}
        reached = set().union(*(reach[i] for i in grouped)) if grouped else set()
        rest = [i for i in range(len(terms)) if i not in grouped and reach[i] & reached and i not in candidates]
        residual = list(dict.fromkeys(labels[i][0] for i in rest))
        if self._wanted is not None and all(name in [group for group, _ in groups] for name in self._wanted):
            residual += [name for name, _ in groups if name not in self._wanted]
            groups = [group for group in groups if group[0] in self._wanted]
        return _Plan(root_name, groups, residual, separate)

    @staticmethod
    def _inner(terms: list[Term], names: Names, parameters: set[int]) -> dict[Edge, list[str]]:
        """Names of the losses that unnamed terms are functions of: the logarithm of a loss is still that task."""
        splitter = _live_splitter(names, parameters)
        inner = {}
        for term in terms:
            if not names.is_known(term.edge):
                found = names.choose([each.edge for each in splitter.named_below(term)])
                inner[term.edge] = [name for name, _ in found if name is not None]
        return inner

    def _labels(
        self, terms: list[Term], names: Names, only: str | None, inner: Mapping[Edge, list[str]]
    ) -> list[tuple[str, bool, str | None]]:
        """For each term: name, whether it could be one repeat of many, and the source text that made it."""
        labels: list[tuple[str, bool, str | None]] = []
        sources = [source_of(term.node) for term in terms]
        entries = _vector_entries([term.edge for term in terms], names) if only is None else {}
        for position, (term, (name, is_position)) in enumerate(
            zip(terms, names.choose([term.edge for term in terms]), strict=True)
        ):
            source = sources[position]
            text = None if source is None else source.trace
            if only is not None:
                labels.append((only, False, text))
            elif name is not None:
                labels.append((name, is_position, text))
            elif term.edge in entries and not (source is not None and source.assigned):
                labels.append((entries[term.edge], True, text))
            elif len(below := inner.get(term.edge, [])) == 1:
                labels.append((below[0], False, text))
            elif source is not None:
                # A function that returns several terms at once names none of them.
                alone = [other.name for other in sources if other is not None].count(source.name) == 1
                labels.append((source.name if alone or source.called is None else source.called, True, text))
            else:
                if not self.lines_asked:
                    self.lines_asked = True
                    raise Unnamed
                labels.append((f"term{position + 1}", True, None))
        return labels

    def _groups(
        self, terms: list[Term], candidates: list[int], labels: list[tuple[str, bool, str | None]]
    ) -> list[tuple[str, list[int]]]:
        """Terms that are one task together: samples or time steps of one loss, and pieces of one library call."""
        repeatable = [i for i in candidates if labels[i][1]]
        groups: list[tuple[str, list[int]]] = []
        merged: dict[int, int] = {}
        private = dict(zip(repeatable, private_parameters([terms[i] for i in repeatable]), strict=True))
        for i in candidates:
            for first in merged:
                if i in private and first in private and self._same_task(terms, labels, private, first, i):
                    groups[merged[first]][1].append(i)
                    break
            else:
                merged[i] = len(groups)
                groups.append((labels[i][0], [i]))
        return _distinct([(name.split("[")[0] if len(members) > 1 else name, members) for name, members in groups])

    @staticmethod
    def _same_task(
        terms: list[Term],
        labels: list[tuple[str, bool, str | None]],
        private: Mapping[int, frozenset[int]],
        first: int,
        other: int,
    ) -> bool:
        same_source = labels[first][2] is not None and labels[first][2] == labels[other][2]
        one_container = labels[first][0].split("[")[0] == labels[other][0].split("[")[0]
        if terms[first].kind == terms[other].kind:
            # The same net, run again on another sample or time step, eats the same parameters apart from the others;
            # the last time step eats those of the recurrence too.
            one, two = private[first], private[other]
            repeats = bool(one) and bool(two) and (one <= two or two <= one)
            return repeats and (same_source or one_container)
        # One call of a library function that is a sum itself: label smoothing.
        return same_source and private[first] == private[other]


def _live_splitter(names: Names, parameters: set[int]) -> Splitter:
    """Finds the scalars that the script holds by name now."""
    return Splitter(
        lambda node: touches_data(node, parameters), lambda edge, path: names.is_scalar(edge), lambda edge: False
    )


def _picks(root: Root) -> bool:
    return bool(root.edge[0].name().startswith(("Select", "Unbind", "Split", "Slice", "Index")))


def exact_weights(roots: Sequence[Root], edges: Sequence[Edge]) -> list[Tensor | None]:
    """Derivative of the roots by each edge, through the linear top of the graph alone; None for an edge not reached."""
    if not edges:
        return []
    by_root = {root.edge: root.gradient for root in roots}
    inputs = [edge for edge in edges if edge not in by_root]
    weights: dict[Edge, Tensor | None] = dict(by_root)
    if inputs:
        found = torch.autograd.grad(
            [GradientEdge(*root.edge) for root in roots],
            [GradientEdge(*edge) for edge in inputs],
            [root.gradient for root in roots],
            retain_graph=True,
            allow_unused=True,
        )
        for edge, weight in zip(inputs, found, strict=True):
            direct = by_root.get(edge)
            weights[edge] = weight if direct is None else direct
    return [weights[edge] for edge in edges]


def _vector_entries(edges: Sequence[Edge], names: Names) -> dict[Edge, str]:
    """Names like ``losses[1]`` for terms that are entries of a named vector."""
    entries: dict[Edge, str] = {}
    for vector, name in names.vectors.items():
        tensor = names.tensors[vector]
        if tensor.dim() != 1 or tensor.numel() > 1000:
            continue
        # With the gradient 1, 2, 3, … for its entries, each term's weight is its place in the vector.
        places = torch.arange(1, tensor.numel() + 1, dtype=tensor.dtype, device=tensor.device)
        weights = torch.autograd.grad(
            [GradientEdge(*vector)], [GradientEdge(*e) for e in edges], [places], retain_graph=True, allow_unused=True
        )
        for edge, weight in zip(edges, weights, strict=True):
            if (
                weight is not None
                and weight.numel() == 1
                and edge != vector
                and float(weight) in range(1, len(places) + 1)
            ):
                place = int(weight) - 1
                # `losses[k] = …` in a loop over the tasks' names: the one list of that length says what they are.
                lists = [words for words in names.task_lists if len(words) == len(places)]
                entries.setdefault(edge, lists[0][place] if len(lists) == 1 else f"{name}[{place}]")
    return entries


def _task(name: str, edges: list[Edge], gradients: list[Tensor], values: Sequence[Tensor | None]) -> FoundTask:
    weight = sum(float(gradient.detach().double().sum()) for gradient in gradients)
    scaled = 0.0
    for gradient, value in zip(gradients, values, strict=True):
        same = value is not None and (value.shape == gradient.shape or value.numel() == 1 == gradient.numel())
        term = math.nan if value is None or not same else float((gradient.double() * value.double()).sum())
        scaled += term
    size = sum(float(gradient.detach().double().abs().sum()) for gradient in gradients)
    if size == 0:
        # Switched off for now: the loss is what it would be at weight 1, or the mean of its samples.
        means = [math.nan if value is None else float(value.double().mean()) for value in values]
        return FoundTask(name, edges, gradients, 0.0, sum(means) / len(means))
    if abs(weight) <= 1e-12 * size:
        # Weights that cancel define no mean loss: the sum is then the loss, at weight 1.
        weight = 1.0
    return FoundTask(name, edges, gradients, weight, scaled / weight)


def _distinct(groups: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """Number the groups that would share a name."""
    counts: dict[str, int] = {}
    for name, _ in groups:
        counts[name] = counts.get(name, 0) + 1
    seen: dict[str, int] = {}
    result = []
    for name, members in groups:
        seen[name] = seen.get(name, 0) + 1
        result.append((name if counts[name] == 1 else f"{name}.{seen[name]}", members))
    return result
