"""Losses of single rows of a batch: what a list of a loss for each sample is made of."""

from __future__ import annotations

import torch

from dominance.record.tasks.graph import ACCUMULATE, Edge, Node, children, output_shape

_FEW_NODES = 60
_LAYERS = ("Addmm", "MmBackward", "Convolution", "Embedding")
"""Layers whose outputs have the batch as their first dimension."""


def rows_read(start: Node) -> frozenset[Edge]:
    """The batches (edges of tensors with a row for each sample) that a loss takes single rows of.

    Empty where the loss reads anything else too, or where no layer of a network made the first dimension: what was
    stacked, head beside head, has no rows.
    """
    found: set[Edge] = set()
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        if node.name() == ACCUMULATE or len(seen) > _FEW_NODES:
            return frozenset()
        if _picks_row(node):
            batch = node.next_functions[0]
            if not _made_by_a_layer(batch):
                return frozenset()
            found.add(batch)
            continue
        below = [child for child, _ in children(node) if child not in seen]
        seen.update(below)
        waiting += below
    return frozenset(found)


def _picks_row(node: Node) -> bool:
    name = node.name()
    return name in ("SelectBackward0", "UnbindBackward0") and int(node._saved_dim) == 0 and bool(children(node))


def _is_data(edge: Edge, shape: tuple[int, ...]) -> bool:
    """Whether this is an input that needs gradient, of as many rows."""
    if edge[0].name() != ACCUMULATE:
        return False
    leaf = edge[0].variable
    return not isinstance(leaf, torch.nn.Parameter) and leaf.dim() > 1 and tuple(leaf.shape[:1]) == shape[:1]


def _made_by_a_layer(edge: Edge) -> bool:
    """Whether the first dimension of a tensor is the one that a layer below it has put out, or that the data have."""
    shape = output_shape(edge)
    if not shape:
        return False
    seen, waiting, made = {edge}, [edge], False
    while waiting:
        edge = waiting.pop()
        here = output_shape(edge)
        if here is None or here[:1] != shape[:1] or len(seen) > _FEW_NODES:
            return False
        node = edge[0]
        if node.name().startswith(_LAYERS) or isinstance(node, torch.autograd.function.BackwardCFunction):
            if len(here) < 2:
                return False
            made = True
            continue
        below = children(node)
        if any(_is_data(each, here) for each in below):
            made = True
            continue
        below = [each for each in below if each[0].name() != ACCUMULATE]
        if not below:
            return False
        waiting += [each for each in below if each not in seen]
        seen.update(below)
    return made
