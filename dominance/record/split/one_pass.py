"""Gradients of many groups of examples at once, where a pass a group would say the same.

Groups are disjoint rows of one backward pass. Where the gradient D that enters an operator is apart by rows, each of
one group alone, a weight's gradient of a group is that of its rows: the sum over them of D times what the operator was
given, which it keeps for the script's own backward(). So all groups together cost about one weight gradient, and two
passes through the activations: the second has each group's gradient times a power of two of its own, and where a row of
D comes out as that multiple of itself, to rounding, nothing of another group is in it. Nothing is taken for granted of
how a model is made: what mixes examples (BatchNorm, attention between the tokens of several groups) shows, and takes a
pass a group. The second pass is left out of most steps whose graph has shown itself to keep examples apart: layouts.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.utils.weak import WeakIdKeyDictionary

from dominance.record.split.group_rules import OutputRows
from dominance.record.split.in_passing import RowsCapture, Taking
from dominance.record.split.layouts import Layouts, form_of, laid_out, owners_of
from dominance.record.split.row_products import RowFactors, factors_of, joined
from dominance.record.split.sampled import Float64s
from dominance.record.split.uses import Use, along, by_rule, down, is_by_rows, line_of, uses_of
from dominance.record.tasks.found import FoundTask
from dominance.record.tasks.graph import Edge, Node, leaves

_FEWEST = 3
"""Of fewer groups a pass a group costs no more."""
_ROUNDINGS = 64
"""How many units in the last place a row may be off its multiple."""


@dataclass
class Apart:
    """Takes the gradients of groups, and remembers of which parameters a pass a group is needed."""

    mixed: WeakIdKeyDictionary = field(default_factory=WeakIdKeyDictionary)
    in_passing: bool = True
    """Whether the script's own pass may be looked at."""
    layouts: Layouts = field(default_factory=Layouts)
    sampled: Mapping[Tensor, Tensor] = field(default_factory=dict)
    """Parameters of whose gradients some coordinates are enough, and these."""
    grams: dict[Tensor, Float64s] = field(default_factory=dict)
    """Of those of the last call, the inner products of the tasks' gradients over all coordinates, (task, task)."""

    def take(
        self, tasks: Sequence[FoundTask], parameters: Sequence[Tensor], *, alone: bool = False
    ) -> dict[Tensor, Tensor]:
        """The gradient of each task by these parameters, (task, ...); those that it cannot be known of are left out.

        Args:
            tasks: that start from the same places of the graph.
            parameters: leaf tensors.
            alone: there are no others in the pass, so that of those in ``sampled`` these coordinates are given.
        """
        self.grams = {}
        edges = list(dict.fromkeys(edge for task in tasks for edge in task.edges))
        starts = _starts(tasks, edges)
        if starts is None or len(tasks) < _FEWEST:
            return {}
        uses = uses_of([edge[0] for edge in edges], [p for p in parameters if p not in self.mixed])
        nodes = list(dict.fromkeys(use.node for each in uses.values() for use in each))
        if 2 * sum(p.numel() for p in uses) < sum(p.numel() for p in parameters):
            return {}  # most of them take a pass a group, which gives the others too
        rows = _rows(nodes, edges, starts, self.layouts)
        found: dict[Tensor, Tensor] = {}
        with torch.no_grad():
            for p, each in uses.items():
                if any(use.node not in rows for use in each):
                    self.mixed[p] = True
                else:
                    found[p] = self._summed(p, each, rows, self.sampled.get(p) if alone else None)
        return found

    def _summed(self, p: Tensor, uses: Sequence[Use], rows: Mapping[Node, OutputRows], index: Tensor | None) -> Tensor:
        """A parameter's gradients over all that takes it in, (task, ...); at some coordinates, (task, coordinate)."""
        if index is not None and (light := self._sampled(p, uses, rows, index)) is not None:
            at_index, self.grams[p] = light
            return at_index
        parts = [down(by_rule(use, rows[use.node]), use, p) for use in uses]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    def capture(
        self, tasks: Sequence[FoundTask], parameters: Sequence[Tensor], whole: Tensor | None
    ) -> RowsCapture | None:
        """Takes the same in the script's own pass; None where a pass of ours is needed.

        Args:
            tasks: all that the pass is made of.
            parameters: leaf tensors.
            whole: the gradient that the pass brings to the one tensor that is split.
        """
        edges = list(dict.fromkeys(edge for task in tasks for edge in task.edges))
        starts = _starts(tasks, edges) if len(edges) == 1 and len(tasks) >= _FEWEST else None
        if starts is None or whole is None or not torch.equal(whole, torch.stack(starts[0]).sum(0)):
            return None
        tops = [edge[0] for edge in edges]
        uses = uses_of(tops, [p for p in parameters if p not in self.mixed])
        if not _all_in_passing(tops, parameters, uses):
            return None
        nodes = list(dict.fromkeys(use.node for each in uses.values() for use in each))
        entering = [edge for node in nodes for edge in _outputs(node)]
        owners = owners_of(starts)
        lies = self.layouts.known(form_of(tops, entering), owners)
        if lies is None or owners is None:
            return None
        how, known = dict(zip(entering, lies, strict=True)), owners

        def codes_of(node: Node, given: Sequence[Tensor | None]) -> list[Tensor | None]:
            pairs = zip(_outputs(node), given, strict=True)
            return [None if d is None else laid_out(_rows_of(d), known, how[edge]) for edge, d in pairs]

        index = {p: self.sampled[p] for p in uses if p in self.sampled and all(is_by_rows(use, p) for use in uses[p])}
        by_node: dict[Node, list[tuple[Tensor, Taking]]] = {}
        for p, each in uses.items():
            for use in each:
                by_node.setdefault(use.node, []).append((p, functools.partial(self._part, p, use, p in index)))
        return RowsCapture(codes_of, by_node, index, len(tasks))

    @staticmethod
    def _part(p: Tensor, use: Use, by_rows: bool, rows: OutputRows) -> RowFactors | Tensor:
        """What one operator gives to a parameter's gradients."""
        if by_rows:
            factors = factors_of(use.node, use.place, rows, p)
            if factors is None:
                raise ValueError(f"the rows of {use.node.name()} are not where they were")
            return factors
        found, line = by_rule(use, rows), line_of(use)
        assert line is not None
        return torch.stack([along(line, gradient) for gradient in found]).to(p.dtype)

    @staticmethod
    def _sampled(
        p: Tensor, uses: Sequence[Use], rows: Mapping[Node, OutputRows], index: Tensor
    ) -> tuple[Tensor, Float64s] | None:
        """The gradients at some coordinates, (task, coordinate), and their inner products over all."""
        factors = [factors_of(use.node, use.place, rows[use.node], p) for use in uses]
        known = [each for each in factors if each is not None]
        return None if len(known) < len(factors) else joined(known).sampled(index)


def _all_in_passing(tops: Sequence[Node], parameters: Sequence[Tensor], uses: Mapping[Tensor, Sequence[Use]]) -> bool:
    """Whether all of these parameters that a pass reaches can be looked at while it runs."""
    reached = {id(p) for p in leaves(tops)} & {id(p) for p in parameters}
    if {id(p) for p in uses} != reached or any(p._post_accumulate_grad_hooks for p in uses):
        return False
    return all(line_of(use) is not None for each in uses.values() for use in each)


def sets_of(tasks: Sequence[FoundTask]) -> list[list[FoundTask]]:
    """Tasks that start from the same tensors, together."""
    found: dict[frozenset[Edge], list[FoundTask]] = {}
    for task in tasks:
        found.setdefault(frozenset(task.edges), []).append(task)
    return list(found.values())


def _starts(tasks: Sequence[FoundTask], edges: Sequence[Edge]) -> list[list[Tensor]] | None:
    """The gradient of each task at each edge; None where two tasks have a share of one entry."""
    by_edge = []
    for edge in edges:
        gradients = [sum((g for e, g in zip(task.edges, task.gradients, strict=True) if e == edge)) for task in tasks]
        tensors = [g for g in gradients if isinstance(g, Tensor)]
        if len(tensors) < len(tasks) or any(g.dtype == torch.float16 for g in tensors):
            return None  # of half precision, multiples overflow
        taken = torch.zeros_like(tensors[0], dtype=torch.int32)
        for gradient in tensors:
            taken += gradient != 0
        if bool((taken > 1).any()):
            return None
        by_edge.append(tensors)
    return by_edge


def _rows(
    nodes: Sequence[Node], edges: Sequence[Edge], starts: Sequence[Sequence[Tensor]], layouts: Layouts
) -> dict[Node, OutputRows]:
    """Whose each row is of the gradients that enter these operators; operators are left out where groups are mixed."""
    count = len(starts[0])
    powers = [k - count // 2 for k in range(count)]
    outputs = [GradientEdge(*edge) for edge in edges]
    entering = [edge for node in nodes for edge in _outputs(node)]
    inputs = [GradientEdge(*edge) for edge in entering]

    def taken(scale: Sequence[float]) -> dict[Edge, Tensor | None]:
        whole = [torch.stack([g * s for g, s in zip(each, scale, strict=True)]).sum(0) for each in starts]
        found = torch.autograd.grad(outputs, inputs, whole, retain_graph=True, allow_unused=True)
        return dict(zip(entering, found, strict=True))

    owners, graph = owners_of(starts), form_of([edge[0] for edge in edges], entering)
    once = taken([1.0] * count)
    if owners is not None and (lies := layouts.known(graph, owners)) is not None:
        how = dict(zip(entering, lies, strict=True))
        codes = {e: None if d is None else laid_out(_rows_of(d), owners, how[e]) for e, d in once.items()}
        return _entered(nodes, once, codes, count)
    present = {k for k in range(count) if any(bool(each[k].any()) for each in starts)}
    scaled = taken([2.0**power for power in powers])
    codes = {
        edge: None if d is None or (s := scaled[edge]) is None else _codes(d, s, powers, present)
        for edge, d in once.items()
    }
    apart = [n for n in nodes if all(once[edge] is None or codes[edge] is not None for edge in _outputs(n))]
    found = _entered(apart, once, codes, count)
    if len(found) == len(nodes):
        layouts.saw(graph, owners, [code for node in nodes for code in found[node].codes])
    return found


def _entered(
    nodes: Sequence[Node], once: Mapping[Edge, Tensor | None], codes: Mapping[Edge, Tensor | None], count: int
) -> dict[Node, OutputRows]:
    """Of the operators that a gradient enters, it and whose its rows are."""
    found = {}
    for node in nodes:
        edges = _outputs(node)
        if any(once[edge] is not None for edge in edges):
            found[node] = OutputRows([once[edge] for edge in edges], [codes[edge] for edge in edges], count)
    return found


def _outputs(node: Node) -> list[Edge]:
    return [(node, output) for output in range(len(node._input_metadata))]


def _rows_of(gradient: Tensor) -> tuple[int, ...]:
    """The shape of its rows: all dimensions but the last, all entries of a vector."""
    return tuple(gradient.shape[:-1] if gradient.dim() > 1 else gradient.shape)


def _codes(once: Tensor, scaled: Tensor, powers: Sequence[int], present: set[int]) -> Tensor | None:
    """The group of each row, -1 where there is no gradient; None where groups are mixed."""
    if once.dtype == torch.float16 or not once.is_floating_point():
        return None
    rows = (once if once.dim() > 1 else once.unsqueeze(-1)).detach()
    multiple = scaled.detach().reshape(rows.shape)
    largest, larger = rows.abs().amax(-1), multiple.abs().amax(-1)
    there = (largest > 0) & (larger > 0)
    power = torch.where(there, torch.log2(larger.double() / largest.double()), 0.0).round()
    codes = (power - powers[0]).long()
    factor = torch.exp2(power).to(rows.dtype).unsqueeze(-1)
    off = (multiple - rows * factor).abs().amax(-1)
    fits = (off <= _ROUNDINGS * torch.finfo(rows.dtype).eps * larger) & (codes >= 0) & (codes < len(powers))
    same_zero = (largest == 0) & (larger == 0)
    if not bool((torch.where(there, fits, same_zero)).all()):
        return None
    codes = torch.where(there, codes, -1)
    # Where everything is added up, one multiple of all could come out by chance: a group that is missing tells.
    seen = set(torch.unique(codes).tolist()) - {-1}
    return codes if seen == present else None
