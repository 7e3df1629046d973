"""The passes of several tasks side by side: all go through a section of the graph before any goes on to the next.

Of a large parameter, recorded at its kept coordinates alone, the gradients of all tasks are needed at once for their
inner products, and never again. So they are let go as soon as the passes have been through the section that it lies in,
and no more than a section's are there at a time. The graph is cut where all of it that is left lies below one node.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.optim.engine.gradients import grad, reentrant
from dominance.optim.engine.task_gradients import Start
from dominance.record.split.sampled import TaskProducts, products_of
from dominance.record.tasks.finder import FoundTask
from dominance.record.tasks.graph import ACCUMULATE, Edge, Node

AsKept = Callable[[Tensor, Tensor], Tensor]
Found = tuple[dict[str, dict[Tensor, Tensor]], dict[Tensor, TaskProducts]]


@dataclass
class Section:
    """A part of the graph.

    Attributes:
        leaves: the tensors whose gradients are made in it, by the order in which they come.
        ends: where the gradients leave it for what lies below.
    """

    leaves: dict[Tensor, None] = field(default_factory=dict)
    ends: list[Edge] = field(default_factory=list)


def sampled_side_by_side(
    tasks: Sequence[FoundTask], parameters: Iterable[Tensor], sampled: Mapping[Tensor, Tensor], as_kept: AsKept
) -> Found | None:
    """The gradients of several tasks, of some parameters at the kept coordinates alone.

    Args:
        tasks: the tasks, each of a name of its own.
        parameters: leaf tensors that need gradient.
        sampled: of some of them, the coordinates that are kept.
        as_kept: makes of a parameter and its gradient what is to be returned.

    Returns:
        By task and parameter; and what is known besides of those that are sampled. None where the graph does not come
        apart, or holds a re-entrant checkpoint: whole passes are to be made.
    """
    starts = [Start([GradientEdge(*edge) for edge in task.edges], list(task.gradients)) for task in tasks]
    if len({task.name for task in tasks}) < len(tasks) or reentrant(starts):
        return None
    wanted = list(parameters)
    sections = joined(sections_of([start.edges for start in starts], set(wanted)), set(sampled))
    if len(sections) < 2:
        return None
    taken: dict[str, dict[Tensor, Tensor]] = {task.name: {} for task in tasks}
    products: dict[Tensor, TaskProducts] = {}
    going: list[tuple[Sequence[GradientEdge], Sequence[Tensor]]] = [(s.outputs, s.gradients or ()) for s in starts]
    for section in sections:
        leaves, ends = list(section.leaves), [GradientEdge(*edge) for edge in section.ends]
        inputs: list[Any] = [*leaves, *ends]
        rows = []
        for position, (outputs, gradients) in enumerate(going):
            row = grad(outputs, inputs, gradients, retain_graph=True) if outputs else []
            below = [(end, g) for end, g in zip(ends, row[len(leaves) :], strict=False) if g is not None]
            going[position] = [end for end, _ in below], [g for _, g in below]
            rows.append(row[: len(leaves)] or [None] * len(leaves))
        for position, leaf in enumerate(leaves):
            each = {task.name: row[position] for task, row in zip(tasks, rows, strict=True)}
            for row in rows:
                row[position] = None  # the last who holds it is let go below
            here = {name: as_kept(leaf, g) for name, g in each.items() if g is not None}
            del each
            if here and leaf in sampled:
                products[leaf] = products_of(here, sampled[leaf])
                here = dict(products[leaf].kept)
            for name, gradient in here.items():
                taken[name][leaf] = gradient
    return taken, products


def sections_of(starts: Sequence[Sequence[Edge]], wanted: set[Tensor]) -> list[Section]:
    """The graph below these edges, cut wherever it can be; only leaves that are wanted are told.

    Nodes are gone through as autograd goes: what was made last comes first, and nothing before all that leads to it.
    """
    waits = _dependencies(starts)
    first = {node for each in starts for node, _ in each if node is not None}
    seen = dict.fromkeys(first)
    order = count()
    ready = [(-node._sequence_nr(), next(order), node) for node in first if not waits[node]]
    heapq.heapify(ready)
    into: dict[Node, dict[int, None]] = {}
    sections, begun = [Section()], set(first)
    while ready:
        node = heapq.heappop(ready)[2]
        del seen[node]
        begun.discard(node)
        if node.name() == ACCUMULATE:  # a loss that is a parameter
            if node.variable in wanted:
                sections[-1].leaves[node.variable] = None
            continue
        for child, place in node.next_functions:
            if child is None:
                continue
            if child.name() == ACCUMULATE:
                if child.variable in wanted:
                    sections[-1].leaves[child.variable] = None
                continue
            seen[child] = None
            into.setdefault(child, {})[place] = None
            waits[child] -= 1
            if not waits[child]:
                heapq.heappush(ready, (-child._sequence_nr(), next(order), child))
        if len(seen) == 1 and not begun:
            (below,) = seen
            sections[-1].ends = [(below, place) for place in into[below]]
            sections.append(Section())
    return sections


def _dependencies(starts: Sequence[Sequence[Edge]]) -> dict[Node, int]:
    """How many edges lead to each node below these."""
    waiting = [node for each in starts for node, _ in each if node is not None]
    found = dict.fromkeys(waiting, 0)
    waiting = list(found)
    while waiting:
        for child, _ in waiting.pop().next_functions:
            if child is None or child.name() == ACCUMULATE:
                continue
            if child not in found:
                found[child] = 0
                waiting.append(child)
            found[child] += 1
    return found


def joined(sections: Sequence[Section], sampled: set[Tensor]) -> list[Section]:
    """As few sections as there can be of which none is larger than the largest has to be: what a parameter is used in
    stays together, since its gradient is made of all of it."""
    last = {leaf: position for position, section in enumerate(sections) for leaf in section.leaves}
    whole: list[Section] = []
    until = -1
    for position, section in enumerate(sections):
        if position <= until:
            whole[-1] = _both(whole[-1], section)
        else:
            whole.append(section)
        until = max(until, *(last[leaf] for leaf in section.leaves), position)
    most = max(_size(section, sampled) for section in whole)
    found: list[Section] = []
    for section in whole:
        if found and _size(found[-1], sampled) + _size(section, sampled) <= most:
            found[-1] = _both(found[-1], section)
        else:
            found.append(section)
    return found


def _both(one: Section, below: Section) -> Section:
    return Section(one.leaves | below.leaves, below.ends)


def _size(section: Section, sampled: set[Tensor]) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in section.leaves if leaf in sampled)
