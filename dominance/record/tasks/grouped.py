"""Tasks that are shares of the gradient through tensors of the graph; and what of the losses goes by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from dominance.record.tasks.columns import share_of_loss, share_sum
from dominance.record.tasks.evidence import Evidence
from dominance.record.tasks.found import Found, FoundTask
from dominance.record.tasks.graph import ACCUMULATE, Edge, children, edge_of, output_shape, output_size, walk
from dominance.record.tasks.shares import Groups, shares_of
from dominance.record.tasks.values import term_value
from dominance.record.tasks.weights import Root, exact_weights

_PRODUCTS = ("MmBackward0", "BmmBackward0")


@dataclass(frozen=True)
class GroupedTensor:
    """A tensor of the graph, and whose the gradient through it is."""

    edge: Edge
    shares: Mapping[str, Tensor]
    """Task name -> its share of each entry."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many examples or tokens each task has."""
    unit: str = ""


def places_told(observed: Mapping[str, Tensor]) -> list[GroupedTensor]:
    """Those that the user told of with ``observe(at=...)``."""
    places = {}
    for at in observed.values():
        told = shares_of(at)
        if told is not None:
            places[id(at)] = GroupedTensor(edge_of(at), told.shares, told.counts, told.unit)
    return list(places.values())


def places_of(roots: Sequence[Root], groups: Groups, parameters: set[int]) -> list[GroupedTensor]:
    """The first tensors before the losses that have the form of a batch of these ids; none where there are none.

    Below a place no other is looked for: together they are what of the loss goes through examples.
    """
    from_data, found = Evidence(parameters), {}
    seen, stack = set(), [root.edge for root in roots]
    while stack:
        edge = stack.pop()
        if edge in seen or edge[0].name() == ACCUMULATE:
            continue
        seen.add(edge)
        shape = output_shape(edge)
        codes = None if shape is None else groups.placed(shape, classes=True)
        if codes is not None and shape is not None and not _lists(edge, len(codes)) and from_data(edge[0]):
            shares = {name: codes == code for code, name in enumerate(groups.names)}
            found[edge] = GroupedTensor(edge, shares, groups.counts, groups.unit)
        else:
            stack += children(edge[0])
    # What lies below another one counts there.
    kept = [edge for edge in found if not any(_above(other, edge) for other in found if other != edge)]
    return [found[edge] for edge in kept]


def _above(upper: Edge, lower: Edge) -> bool:
    """Whether one edge lies on the way to another."""
    return any(lower in children(node) for node in walk([upper[0]]))


def _lists(edge: Edge, size: int) -> bool:
    """Whether a tensor of as many entries as the batch has is made by something else than the batch: a list of losses,
    a mean over the examples."""
    node = edge[0]
    name = node.name()
    if name in ("StackBackward0", "CatBackward0"):
        return all(output_size(child) == 1 for child in children(node))
    if name in ("MeanBackward1", "SumBackward1"):
        below = [output_shape(child) for child in children(node)]
        dims = [dim if dim < 2**63 else dim - 2**64 for dim in node._saved_dim]
        return any(shape is not None and shape[:1] == (size,) and {0, -len(shape)} & set(dims) for shape in below)
    return False


def mixes_examples(places: Sequence[GroupedTensor]) -> list[str]:
    """What below these places, or in them, makes the gradient of one example depend on others."""
    said: dict[str, None] = {}
    if any(_of_pairs(place.edge) for place in places):
        said["a loss over pairs of examples"] = None
    for node in walk([place.edge[0] for place in places]):
        if "BatchNorm" in node.name() and getattr(node, "_saved_training", getattr(node, "_saved_train", True)):
            said["BatchNorm"] = None
    return list(said)


def _of_pairs(edge: Edge) -> bool:
    """Whether a tensor has an entry for each two examples: a product of what was made of them with itself."""
    shape = output_shape(edge)
    node = edge[0]
    while node.name() not in _PRODUCTS:
        below = [child for child in children(node) if output_shape(child) == shape]
        if len(below) != 1:
            return False
        node = below[0][0]
    factors = []
    for child, _ in node.next_functions:
        while child is not None and child.name() in ("TBackward0", "TransposeBackward0", "ToCopyBackward0"):
            child = child.next_functions[0][0]
        factors.append(child)
    return all(factor is not None and factor.name() != ACCUMULATE for factor in factors)


def found_of_shares(
    roots: Sequence[Root],
    places: Sequence[GroupedTensor],
    parameters: set[int],
    root_name: str | None,
    whole: Callable[[], Found],
) -> Found:
    """Tasks that are shares of the gradient through these places.

    Where other losses reach the parameters by ways of their own, they are tasks beside the groups, which then bear the
    name of their loss: ``lm[de]``. Shares of one name are one task, as where a network is called twice for one loss.

    Args:
        roots: the outputs that backward() was called on.
        places: see there.
        parameters: ids of the parameters that can get a gradient from the call.
        root_name: what the script calls the loss.
        whole: finds the tasks that are terms of the loss.
    """
    edges = {place.edge for place in places}
    counts = {name: 0 for place in places for name in place.counts}
    for place in places:
        # A network that is called twice for one batch has each example twice, and one example.
        counts |= {name: max(number, counts[name]) for name, number in place.counts.items()}
    unit = next((place.unit for place in places if place.unit), "")
    if not any(reaches_past(root.edge, edges, parameters) for root in roots):
        tasks = _shares(roots, places)
        return Found(root_name or "loss", tasks, [], by_shares=True, counts=counts, unit=unit)
    terms = whole()
    tasks, called = [], {}
    for task in terms.tasks:
        starts = [Root(edge, g, None) for edge, g in zip(task.edges, task.gradients, strict=True)]
        shares = _shares(starts, places)
        if not shares:
            tasks.append(task)
            continue
        alone = len(terms.tasks) == 1
        for each in shares:
            name = each.name if alone else f"{task.name}[{each.name}]"
            if each.name in counts:
                called[name] = counts[each.name]
            each.name = name
        tasks += shares
        if not alone and any(reaches_past(edge, edges, parameters) for edge in task.edges):
            tasks.append(_rest(task, starts, places))
    terms.tasks, terms.by_shares, terms.counts, terms.unit = tasks, True, called, unit
    terms.root_name, terms.columns, terms.expanded = root_name or terms.root_name, None, False
    return terms


def _shares(roots: Sequence[Root], places: Sequence[GroupedTensor]) -> list[FoundTask]:
    nodes = [root.edge[0] for root in roots]
    gradients = exact_weights(roots, [place.edge for place in places])
    found: dict[str, FoundTask] = {}
    for place, gradient in zip(places, gradients, strict=True):
        if gradient is None:
            continue
        entries = share_of_loss(nodes, place.edge, lambda above: exact_weights(roots, [above])[0])
        if entries is None:
            entries = _own_value(roots, place.edge, gradient)
        for name, share in place.shares.items():
            task = found.setdefault(name, FoundTask(name, [], [], 1.0, 0.0))
            task.edges.append(place.edge)
            task.gradients.append(gradient * share.to(gradient.device))
            task.loss += share_sum(entries, share)
    return list(found.values())


def _own_value(roots: Sequence[Root], edge: Edge, gradient: Tensor) -> Tensor | None:
    """What each entry counts, where it is a loss itself: the losses of the examples then add up to the whole."""
    value = term_value(edge[0]) if output_shape(edge) == tuple(gradient.shape) else None
    total = sum(float((r.tensor.detach() * r.gradient).sum()) for r in roots if r.tensor is not None)
    if value is None or any(root.tensor is None for root in roots):
        return None
    counted = value * gradient
    return counted if math.isclose(float(counted.double().sum()), total, rel_tol=1e-4) else None


def _rest(task: FoundTask, starts: Sequence[Root], places: Sequence[GroupedTensor]) -> FoundTask:
    """What of a loss goes by none of these places."""
    through = exact_weights(starts, [place.edge for place in places])
    known = [(place.edge, -gradient) for place, gradient in zip(places, through, strict=True) if gradient is not None]
    edges = [*task.edges, *(edge for edge, _ in known)]
    return FoundTask(f"{task.name}[rest]", edges, [*task.gradients, *(g for _, g in known)], task.weight, math.nan)


def reaches_past(edge: Edge, cut: set[Edge], parameters: set[int]) -> bool:
    """Whether any of the parameters lies below an edge on a way that does not pass through ``cut``."""
    if edge in cut:
        return False
    seen, stack = {edge}, [edge]
    while stack:
        node = stack.pop()[0]
        if hasattr(node, "variable") and id(node.variable) in parameters:
            return True
        for child in children(node):
            if child not in seen and child not in cut:
                seen.add(child)
                stack.append(child)
    return False
