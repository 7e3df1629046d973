"""The autograd graph of a loss: its linear top, the terms below it, and the parameters that a term reaches."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

Node = Any
"""``torch.autograd.graph.Node``: the C++ nodes are not instances of it, so the type says nothing to a checker."""
Edge = tuple[Node, int]
"""A node and which of its outputs: what ``torch.autograd.graph.GradientEdge`` names."""

ACCUMULATE = "torch::autograd::AccumulateGrad"
COPY_SLICES = "torch::autograd::CopySlices"

# Nodes through which a sum of losses may pass: each output is linear in the listed inputs (None: in all of them).
_LINEAR: dict[str, tuple[int, ...] | None] = {
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
_PRODUCTS = {"MulBackward0", "MulBackward1", "DotBackward0", "MvBackward0", "MmBackward0"}
_QUOTIENTS = {"DivBackward0", "DivBackward1", "DivBackward2", "TrueDivideBackward0"}

# Reading data by index, or comparing with targets that need no gradient: no edge of the graph shows the data.
_READS_DATA = (
    "Embedding", "Index", "Gather", "NllLoss", "Ctc", "Scatter", "Take", "SparseMm", "MaskedSelect", "MaskedFill",
    "MseLoss", "L1Loss", "SmoothL1", "HuberLoss", "BinaryCrossEntropy", "KlDiv", "SoftMargin", "MultiMargin",
    "MultilabelMargin", "CrossEntropy", "Cudnn", "Miopen", "Mkldnn", "Thnn", "Lstm", "Gru", "Rnn", "Convolution",
    "Where",
)  # fmt: skip
_MATRIX_PRODUCTS = (
    "Mm",
    "Addmm",
    "Bmm",
    "Baddbmm",
    "Mv",
    "Dot",
    "Addmv",
    "Addbmm",
    "ScaledDotProduct",
    "Einsum",
    "Linear",
)


def edge_of(tensor: Tensor) -> Edge:
    """The edge that a tensor's gradient flows along: its grad_fn, or the accumulator of a leaf."""
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def output_size(edge: Edge) -> int:
    """Number of elements of the tensor at this edge; 1 for a scalar loss."""
    node, output = edge
    try:
        return prod(int(size) for size in node._input_metadata[output].shape)
    except (AttributeError, IndexError):
        # Python-defined functions and accumulators of odd tensors keep no metadata: not known to be a scalar.
        return -1


def children(node: Node) -> list[Edge]:
    """The edges that a node passes gradient on to, with inputs that need none left out."""
    return [(child, output) for child, output in node.next_functions if child is not None]


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
    """The leaf tensors (parameters) that a backward pass from ``starts`` would reach."""
    return [node.variable for node in walk(starts) if node.name() == ACCUMULATE]


def touches_data(start: Node, parameters: Container[int] | None = None) -> bool:
    """Whether a term is made from data, and not from parameters alone as a regulariser is.

    Evidence of data: a loss against targets, a lookup by index, a matrix product or convolution with a factor that
    needs no gradient, a product with a constant that is no scalar, a function written by the user, a leaf that is none
    of the ``parameters`` (their ids): an input that needs gradient, as for a gradient penalty.
    """
    constants = []
    for node in walk([start]):
        name = node.name()
        if name == ACCUMULATE:
            leaf = node.variable
            strange = parameters is not None and id(leaf) not in parameters
            if strange and leaf.dim() >= 2 and not isinstance(leaf, torch.nn.Parameter):
                return True
            continue
        if name.startswith(_READS_DATA) or isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        lacks_input = any(child is None for child, _ in node.next_functions)
        if lacks_input and name.startswith(_MATRIX_PRODUCTS):
            return True
        if lacks_input and (name in _PRODUCTS or name in _QUOTIENTS):
            constants.append(node)
    # Last, because unpacking a saved tensor can cost a recomputation where the script uses checkpointing.
    factors = (saved_tensor(node, side) for node in constants for side in ("self", "other"))
    return any(factor is not None and factor.dim() > 0 and not factor.requires_grad for factor in factors)


def saved_tensor(node: Node, name: str) -> Tensor | None:
    """What a node saved under this name; None where it saved nothing, freed it, or it was changed in place since."""
    try:
        value = getattr(node, f"_saved_{name}")
    except (AttributeError, RuntimeError):
        return None
    return value if isinstance(value, Tensor) else None


@dataclass(frozen=True)
class Term:
    """One term of a loss: an edge below the linear top of its graph, and the way there.

    ``path`` holds, from the root down, the child taken at each node; with ``kind`` it tells the same term again in
    the graph of a later step.
    """

    edge: Edge
    path: tuple[int, ...]
    kind: str

    @property
    def node(self) -> Node:
        return self.edge[0]


def _selected(edge: Edge) -> tuple[int, ...]:
    """Which entry of a vector a node picks, so that two entries are told apart in a path."""
    node, output = edge
    name = node.name()
    if name == "SelectBackward0":
        return (int(node._saved_index),)
    return (output,) if name in ("UnbindBackward0", "SplitBackward0") else ()


# A function of losses is made of a handful of nodes; a network is not.
_FEW_NODES = 200


class Splitter:
    """Walks from the root of a loss through linear nodes down to its terms.

    Args:
        carries_loss: whether the graph below a node is made from data or reaches a parameter of interest, so that of
            two factors the one that does not is a weight.
        named: whether the user gave the tensor at this edge, reached on this path, a name: there the walk stops.
        loss_like: whether a vector at this edge is a loss per sample, so that a sum of vectors is a sum of losses.
    """

    def __init__(
        self,
        carries_loss: Callable[[Node], bool],
        named: Callable[[Edge, tuple[int, ...]], bool],
        loss_like: Callable[[Edge], bool],
    ) -> None:
        self._carries_loss = carries_loss
        self._named = named
        self._loss_like = loss_like

    def terms(self, root: Edge, path: tuple[int, ...] = ()) -> list[Term]:
        """The terms below ``root``; the root itself when it does not come apart. Each edge is listed once."""
        found: dict[Edge, Term] = {}
        seen: set[Edge] = set()
        stack = [(root, path, True)]
        while stack:
            edge, here, is_root = stack.pop()
            if edge in seen:
                continue
            seen.add(edge)
            below = [] if (not is_root and self._stops(edge, here)) else self._summands(edge)
            if not below:
                found[edge] = Term(edge, here, edge[0].name())
            # Reversed, so that terms come out in the order they are written in.
            chosen = _selected(edge)
            stack.extend((child, (*here, position, *chosen), False) for position, child in reversed(below))
        return list(found.values())

    def _stops(self, edge: Edge, path: tuple[int, ...]) -> bool:
        """The user named this tensor: it is a term, unless it is a vector of several losses."""
        return self._named(edge, path) and (output_size(edge) == 1 or not self._deeper(edge))

    def _summands(self, edge: Edge) -> list[tuple[int, Edge]]:
        """The children to go on to, with their positions; none where the walk must stop."""
        node, _ = edge
        positions = self._linear_inputs(node)
        below = [(i, node.next_functions[i]) for i in positions if node.next_functions[i][0] is not None]
        below = [(i, (child, output)) for i, (child, output) in below]
        if not below:
            return []
        if output_size(edge) != 1:
            return below if self._vector_comes_apart(node, below) else []
        if len(below) == 1 and output_size(below[0][1]) != 1 and not self._deeper(below[0][1]):
            # A reduction over one loss per sample: the reduced scalar is the loss.
            return []
        return below

    def _linear_inputs(self, node: Node) -> list[int]:
        name = node.name()
        count = len(node.next_functions)
        if name in _LINEAR:
            listed = _LINEAR[name]
            return list(range(count)) if listed is None else [i for i in listed if i < count]
        if name in _QUOTIENTS:
            denominator = node.next_functions[1][0] if count > 1 else None
            return [0] if denominator is None or not self._carries_loss(denominator) else []
        if name in _PRODUCTS:
            loaded = [i for i, (child, _) in enumerate(node.next_functions) if child is not None]
            if len(loaded) == 2:
                loaded = [i for i in loaded if self._carries_loss(node.next_functions[i][0])]
            return loaded if len(loaded) == 1 else []
        return []

    def _deeper(self, edge: Edge) -> bool:
        """Whether the vector at ``edge`` comes apart into several losses."""
        below = self._summands(edge)
        return len(below) > 1 or (len(below) == 1 and (output_size(below[0][1]) == 1 or self._deeper(below[0][1])))

    def _vector_comes_apart(self, node: Node, below: list[tuple[int, Edge]]) -> bool:
        """A vector is a sum of losses when it stacks scalars, or adds losses per sample; never inside a network."""
        if node.name() == COPY_SLICES:
            return all(output_size(child) == 1 or child[0].name() == COPY_SLICES for _, child in below)
        holding = [self._holds_losses(child) for _, child in below]
        spare = [not self._carries_loss(child[0]) for _, child in below]
        return any(holding) and all(a or b for a, b in zip(holding, spare, strict=True))

    def named_below(self, term: Term) -> list[Term]:
        """The named scalars that a term is any function of; empty unless they account for all of its data.

        The derivative of a function of losses is a weighted sum of their gradients, linear or not: a maximum, a
        logarithm, a product come apart as a sum does.
        """
        found: dict[Edge, Term] = {}
        seen = {term.edge}
        stack = [(term.edge, term.path)]
        while stack:
            (node, _), path = stack.pop()
            if node.name() == ACCUMULATE or len(seen) > _FEW_NODES:
                return []
            for position, (child, output) in enumerate(node.next_functions):
                edge, below = (child, output), (*path, position)
                if child is None or edge in seen:
                    continue
                seen.add(edge)
                if output_size(edge) == 1 and self._named(edge, below):
                    found[edge] = Term(edge, below, child.name())
                elif self._carries_loss(child):
                    stack.append((edge, below))
        return sorted(found.values(), key=lambda each: each.path)

    def _holds_losses(self, edge: Edge) -> bool:
        """Whether the tensor at ``edge`` is a scalar, one loss per sample (perhaps weighted), or a stack of losses."""
        if output_size(edge) == 1 or self._loss_like(edge) or self._deeper(edge):
            return True
        below = [edge[0].next_functions[i] for i in self._linear_inputs(edge[0])]
        below = [child for child in below if child[0] is not None]
        return len(below) == 1 and self._holds_losses(below[0])


def private_parameters(terms: list[Term]) -> list[frozenset[int]]:
    """For each term, the ids of the parameters consumed by nodes that no other of the terms shares."""
    below = [set(walk([term.node])) for term in terms]
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
