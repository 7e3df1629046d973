"""The autograd graph of a loss: its linear top, the terms below it, and the parameters that a term reaches."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dominance.record.code_values import parameters_used
from dominance.record.tasks.questions import question

Node = Any
"""``torch.autograd.graph.Node``: the C++ nodes are not instances of it, so the type says nothing to a checker."""
Edge = tuple[Node, int]
"""A node and which of its outputs: what ``torch.autograd.graph.GradientEdge`` names."""

ACCUMULATE = "torch::autograd::AccumulateGrad"
LEAF: Any = getattr(torch._C._functions, "AccumulateGrad", None)
"""The type of the nodes of that name."""
COPY_SLICES = "torch::autograd::CopySlices"

# Nodes through which a sum of losses may pass: each output is linear in the listed inputs (None: in all of them).
LINEAR: dict[str, tuple[int, ...] | None] = {
    "AddBackward0": None,
    "AddBackward1": None,
    "SubBackward0": None,
    "SubBackward1": None,
    "RsubBackward0": None,
    "RsubBackward1": None,
    "NegBackward0": None,
    "SumBackward0": None,
    "SumBackward1": None,
    "NansumBackward0": None,
    "MeanBackward0": None,
    "MeanBackward1": None,
    "StackBackward0": None,
    "CatBackward0": None,
    "SelectBackward0": None,
    "SliceBackward0": None,
    "IndexBackward0": (0,),
    "UnbindBackward0": None,
    "SplitBackward0": None,
    "ViewBackward0": None,
    "UnsafeViewBackward0": None,
    "ReshapeAliasBackward0": None,
    "AsStridedBackward0": None,
    "AliasBackward0": None,
    "UnsqueezeBackward0": None,
    "SqueezeBackward0": None,
    "SqueezeBackward1": None,
    "ExpandBackward0": None,
    "CloneBackward0": None,
    "ToCopyBackward0": None,
    "torch::autograd::CopyBackwards": None,
    COPY_SLICES: None,
}
# Products: linear in one factor when the other carries no loss (a constant, or a learned weight).
PRODUCTS = {"MulBackward0", "MulBackward1", "DotBackward0", "MvBackward0", "MmBackward0"}
QUOTIENTS = {"DivBackward0", "DivBackward1", "DivBackward2", "TrueDivideBackward0"}

# Of these, the ones that keep the place of each entry of a vector.
ELEMENTWISE = {
    "AddBackward0", "SubBackward0", "RsubBackward0", "NegBackward0", "MulBackward0", "DivBackward0", "CloneBackward0",
    "ToCopyBackward0", "AliasBackward0",
}  # fmt: skip

POINTWISE_LOSSES = ("MseLoss", "L1Loss", "SmoothL1", "HuberLoss", "NllLoss", "BinaryCrossEntropy", "SoftMargin")
"""How nodes begin that compare entry by entry, and may have added up or averaged what they found."""


def edge_of(tensor: Tensor) -> Edge:
    """The edge that a tensor's gradient flows along: its grad_fn, or the accumulator of a leaf."""
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


@question
def output_size(edge: Edge) -> int:
    """Number of elements of the tensor at this edge; 1 for a scalar loss."""
    node, output = edge
    try:
        return prod(map(int, node._input_metadata[output].shape))
    except (AttributeError, IndexError):
        # Python-defined functions and accumulators of odd tensors keep no metadata: not known to be a scalar.
        return -1


@question
def output_shape(edge: Edge) -> tuple[int, ...] | None:
    """Shape of the tensor at this edge; None where it is not known."""
    node, output = edge
    try:
        return tuple(map(int, node._input_metadata[output].shape))
    except (AttributeError, IndexError):
        return None


def like(edge: Edge) -> Tensor:
    """Zeros in the form of the tensor at this edge."""
    node, output = edge
    form = node._input_metadata[output]
    return torch.zeros(tuple(int(size) for size in form.shape), dtype=form.dtype, device=form.device)


REENTRANT = "CheckpointFunctionBackward"
"""A re-entrant checkpoint is one node, which runs a forward and a backward() of its own."""
DDP_SINK = "_DDPSinkBackward"
"""DistributedDataParallel(find_unused_parameters=True) puts it over what the model returns; it hands on its inputs."""


def below_sink(edge: Edge) -> list[tuple[int, Edge]]:
    """The input that a sink of DistributedDataParallel hands on as this output, and its position among the tensors."""
    node, output = edge
    # Of every argument; the first is the model, which is no output.
    needed = node.needs_input_grad[1:]
    inputs = [(i, below) for i, below in enumerate(node.next_functions) if below[0] is not None]
    return [inputs[sum(needed[:output])]] if needed[output] else []


def children(node: Node) -> list[Edge]:
    """The edges that a node passes gradient on to, with inputs that need none left out."""
    return [(child, output) for child, output in node.next_functions if child is not None]


class Structure(NamedTuple):
    """A graph: of each node its mark, or the leaf that it fills, and where its gradients go on to.

    Attributes:
        told: equal for equal graphs above the same leaves, as long as these live.
        nodes: the starts, then what lies below, level by level.
        places: each node's place among them.
    """

    told: list[object]
    nodes: list[Node]
    places: dict[Node, int]


def walk(starts: Iterable[Node]) -> Iterator[Node]:
    """Every node below ``starts``, each once, the starts included."""
    seen = set(starts)
    stack = list(seen)
    while stack:
        node = stack.pop()
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                stack.append(child)


def leaves(starts: Iterable[Node]) -> list[Tensor]:
    """The leaf tensors (parameters) that a backward pass from ``starts`` would reach.

    Those within a re-entrant checkpoint too, which is one node: as far as the code tells that it runs again.
    """
    found: dict[Tensor, None] = {}
    for node in walk(starts):
        if node.name() == ACCUMULATE:
            found[node.variable] = None
        elif node.name() == REENTRANT:
            found |= dict.fromkeys(parameters_used(node.run_function))
    return list(found)


def structure(starts: Iterable[Node], mark: Callable[[Node], Hashable]) -> Structure | None:
    """What tells the graph below ``starts`` from others, in one walk; None where a node has no mark.

    Args:
        mark: what tells a node from others at its place; None: it holds more than can be told. Of a leaf it is not
            asked: that is told by the tensor.
    """
    nodes = list(dict.fromkeys(starts))
    places = {node: place for place, node in enumerate(nodes)}
    told: list[object] = []
    for node in nodes:  # which grows
        below = node.next_functions
        if not below and node.name() == ACCUMULATE:
            told.append(-id(node.variable))
            continue
        own = mark(node)
        if own is None:
            return None
        told.append(own)
        for child, output in below:
            place = places.get(child)
            if place is None:
                if child is None:
                    told.append(None)
                    continue
                place = places[child] = len(nodes)
                nodes.append(child)
            told += (place, output)
    return Structure(told, nodes, places)


def first_leaf(start: Node) -> tuple[Tensor | None, tuple[int, ...]]:
    """The first of ``first_leaves``, and the way there: by which of its inputs, node by node."""
    seen: set[Node] = set()
    stack: list[tuple[Node, tuple[int, ...]]] = [(start, ())]
    while stack:
        node, way = stack.pop()
        below = [(child, (*way, i)) for i, (child, _) in enumerate(node.next_functions) if child not in seen]
        for child, there in below:
            if type(child) is LEAF:
                return child.variable, there
        below = [(child, there) for child, there in below if child is not None]
        seen.update(child for child, _ in below)
        stack += below
    return None, ()


def led_to(start: Node, way: Sequence[int]) -> Node | None:
    """The node that such a way leads to from another start; None where there is none."""
    node: Node | None = start
    for place in way:
        below = () if node is None else node.next_functions
        node = below[place][0] if place < len(below) else None
    return node


def leads_to(start: Node, way: Sequence[int], leaf: Tensor | None) -> bool:
    """Whether it leads to this leaf."""
    end = led_to(start, way)
    return end is not None and type(end) is LEAF and end.variable is leaf


def first_leaves(starts: Iterable[Node], count: int = 4) -> list[Tensor]:
    """Some leaf tensors that a backward pass from ``starts`` would reach, found without going through the graph."""
    found: list[Tensor] = []
    seen: set[Node] = set()
    stack = list(starts)
    while stack and len(found) < count:
        node = stack.pop()
        below = [child for child, _ in node.next_functions if child is not None and child not in seen]
        seen.update(below)
        found += [child.variable for child in below if child.name() == ACCUMULATE]
        stack += [child for child in below if child.name() != ACCUMULATE]
    return found


SCRIPTED = "DifferentiableGraphBackward"


def saved_tensor(node: Node, name: str) -> Tensor | None:
    """What a node saved under this name; None where it saved nothing, freed it, or it was changed in place since."""
    try:
        value = getattr(node, f"_saved_{name}")
    except (AttributeError, RuntimeError):
        return None
    return value if isinstance(value, Tensor) else None


def reach(starts: Sequence[Node], parameters: Container[int] | None = None) -> list[frozenset[int]]:
    """For each start, the ids of the ``parameters`` (None: of all leaves) that lie below it, in one walk for all."""
    masks: dict[Node, int] = {}
    for position, node in enumerate(starts):
        masks[node] = masks.get(node, 0) | 1 << position
    found: list[set[int]] = [set() for _ in starts]
    for node in _topological(starts):
        mask = masks.get(node, 0)
        held: Sequence[Tensor] = ()
        if node.name() == ACCUMULATE:
            held = (node.variable,)
        elif node.name() == REENTRANT:
            held = parameters_used(node.run_function)
        for leaf in map(id, held):
            for position in range(len(starts)):
                if mask >> position & 1 and (parameters is None or leaf in parameters):
                    found[position].add(leaf)
        for child, _ in node.next_functions:
            if child is not None:
                masks[child] = masks.get(child, 0) | mask
    return [frozenset(each) for each in found]


def positions_above(edges: Sequence[Edge]) -> list[frozenset[int]]:
    """For each edge, the positions of those whose node lies above its own."""
    held: dict[Node, int] = {}
    for position, (node, _) in enumerate(edges):
        held[node] = held.get(node, 0) | 1 << position
    masks: dict[Node, int] = {}
    above: dict[Node, int] = {}
    left = len(held)
    for node in _topological(list(held)):
        mask = masks.get(node, 0)
        if node in held:
            above[node] = mask
            mask |= held[node]
            left -= 1
            if not left:
                break
        for child, _ in node.next_functions:
            if child is not None and mask:
                masks[child] = masks.get(child, 0) | mask
    return [frozenset(i for i in range(len(edges)) if above[node] >> i & 1) for node, _ in edges]


def _topological(starts: Sequence[Node]) -> list[Node]:
    """Every node below ``starts``, none before one that uses it."""
    uses: dict[Node, int] = {}
    for node in walk(starts):
        for child, _ in node.next_functions:
            if child is not None:
                uses[child] = uses.get(child, 0) + 1
    ready = [node for node in dict.fromkeys(starts) if not uses.get(node)]
    order = []
    while ready:
        node = ready.pop()
        order.append(node)
        for child, _ in node.next_functions:
            if child is not None:
                uses[child] -= 1
                if not uses[child]:
                    ready.append(child)
    return order


Fingerprint = tuple[object, ...]


def fingerprint(node: Node, most: int = 24) -> Fingerprint:
    """What tells a term again in the graph of another step: the nodes just below it, and the parameters they use."""
    seen, queue = {node}, [node]
    told: list[object] = []
    for each in queue:
        name = each.name()
        told.append(id(each.variable) if name == ACCUMULATE else name)
        if len(told) == most:
            break
        for child, _ in each.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                queue.append(child)
    return tuple(told)


_VECTOR_PRODUCTS = ("MvBackward0", "DotBackward0")


def head(node: Node, parameters: Container[int]) -> frozenset[int]:
    """What lies nearest below a loss and is its own head: ids of weights among ``parameters``.

    A function of several outputs that is one node (a compiled network) hides its heads: which of its outputs the loss
    uses is then told, as negative numbers. A scripted trunk is many nodes in its first run and one in all later ones:
    what hangs on that one counts where nothing else is as near.
    """
    seen, level = {node}, [(node, 0)]
    above: list[Node] = []
    while level:
        leaves_here = [node.variable for node, _ in level if node.name() == ACCUMULATE]
        weights = [leaf for leaf in leaves_here if id(leaf) in parameters and _is_weight(leaf, above)]
        scripted = {child for each in above if each.name().endswith(SCRIPTED) for child, _ in each.next_functions}
        within = {id(child.variable) for child in scripted if child is not None and child.name() == ACCUMULATE}
        near = {id(leaf) for leaf in weights if id(leaf) not in within} or {id(leaf) for leaf in weights}
        outputs = {-1 - output for n, output in level if _several_outputs(n)}
        if near or outputs:
            return frozenset(near or outputs)
        above = [each for each, _ in level]
        below = [edge for each in above for edge in each.next_functions if edge[0] is not None]
        level = [edge for edge in dict.fromkeys(below) if edge[0] not in seen]
        seen.update(child for child, _ in level)
    return frozenset()


def _is_weight(leaf: Tensor, above: Sequence[Node]) -> bool:
    """Whether a leaf is a matrix, or a vector that a matrix is multiplied by."""
    if leaf.dim() > 1:
        return True
    products = (node for node in above if node.name() in _VECTOR_PRODUCTS)
    return any(getattr(child, "variable", None) is leaf for node in products for child, _ in node.next_functions)


def _several_outputs(node: Node) -> bool:
    outputs: Sequence[object] = getattr(node, "_input_metadata", ())
    return isinstance(node, torch.autograd.function.BackwardCFunction) and len(outputs) > 1


def private_parameters(terms: Sequence[Node]) -> list[frozenset[int]]:
    """For each term, the ids of the parameters consumed by nodes that no other of the terms shares."""
    below = [set(walk([term])) for term in terms]
    counts: dict[Node, int] = {}
    for nodes in below:
        for node in nodes:
            counts[node] = counts.get(node, 0) + 1
    private = []
    for nodes in below:
        consumed = set()
        for node in nodes:
            if counts[node] == 1:
                consumed |= {id(c.variable) for c, _ in node.next_functions if c is not None and c.name() == ACCUMULATE}
        private.append(frozenset(consumed))
    return private
