"""Losses that are computed entry by entry of one output: what each entry counts, and how many columns there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod

import torch.nn.functional as F
from torch import Tensor

from dominance.record.tasks.graph import Edge, Node, children, output_shape, saved_tensor, walk

MOST_COLUMNS = 1000
"""More are no tasks: classes of a vocabulary."""
_FEW_NODES = 50
# Losses that are computed entry by entry, so that a column of their input has a loss of its own.
_BY_ENTRY: dict[str, Callable[[Node], Tensor]] = {
    "MseLossBackward0": lambda n: F.mse_loss(_saved(n, "self"), _saved(n, "target"), reduction="none"),
    "SmoothL1LossBackward0": lambda n: F.smooth_l1_loss(
        _saved(n, "self"), _saved(n, "target"), reduction="none", beta=n._saved_beta
    ),
    "HuberLossBackward0": lambda n: F.huber_loss(
        _saved(n, "self"), _saved(n, "target"), reduction="none", delta=n._saved_delta
    ),
    "BinaryCrossEntropyBackward0": lambda n: F.binary_cross_entropy(
        _saved(n, "self"), _saved(n, "target"), n._saved_weight, reduction="none"
    ),
    "BinaryCrossEntropyWithLogitsBackward0": lambda n: F.binary_cross_entropy_with_logits(
        _saved(n, "self"), _saved(n, "target"), n._saved_weight, pos_weight=n._saved_pos_weight, reduction="none"
    ),
}
_MEAN = 1


def share_of_loss(roots: Sequence[Node], at: Edge, weight_of: Callable[[Edge], Tensor | None]) -> Tensor | None:
    """The loss of each entry of the tensor at this edge, as it counts in the root; None where it cannot be known.

    Known where losses that are computed entry by entry are all that takes in the tensor, as the shape tells; and of a
    cross-entropy, whose loss is of whole rows: it has one entry then where the tensor has the classes.
    """
    above = [node for node in walk(roots) if at in children(node)]
    if len(above) == 1 and (rows := _rows_of_cross_entropy(roots, at, above[0], weight_of)) is not None:
        return rows
    total: Tensor | None = None
    for node in above:
        made = _BY_ENTRY.get(node.name())
        weight = weight_of((node, 0)) if made is not None else None
        if made is None or weight is None:
            return None
        try:
            entries = made(node)
        except (AttributeError, RuntimeError, LookupError):
            # Freed, or changed in place since.
            return None
        if entries.shape != output_shape(at):
            return None
        counted = entries * weight / (entries.numel() if weight.numel() == 1 and node._saved_reduction == _MEAN else 1)
        total = counted if total is None else total + counted
    return total


_CROSS_ENTROPY = ("NllLossBackward0", "NllLoss2DBackward0")
_ON_THE_WAY = {
    "LogSoftmaxBackward0",
    "ViewBackward0",
    "UnsafeViewBackward0",
    "ReshapeAliasBackward0",
    "ToCopyBackward0",
}


def _rows_of_cross_entropy(
    roots: Sequence[Node], at: Edge, node: Node, weight_of: Callable[[Edge], Tensor | None]
) -> Tensor | None:
    while node.name() in _ON_THE_WAY:
        above = [other for other in walk(roots) if (node, 0) in children(other)]
        if len(above) != 1:
            return None
        node = above[0]
    shape, weight = output_shape(at), weight_of((node, 0)) if node.name() in _CROSS_ENTROPY else None
    if weight is None or shape is None:
        return None
    try:
        kept, target = _saved(node, "self"), _saved(node, "target")
        weights, ignored = node._saved_weight, node._saved_ignore_index
        entries = F.nll_loss(
            kept, target, weights, ignore_index=ignored if ignored < 2**63 else ignored - 2**64, reduction="none"
        )
        if weight.numel() == 1:
            entries = entries * weight / (_saved(node, "total_weight") if node._saved_reduction == _MEAN else 1)
        else:
            entries = entries * weight
    except (AttributeError, RuntimeError, LookupError):
        return None
    of_class = next((dim for dim in (1, -1) if entries.numel() * shape[dim] == prod(shape)), None)
    if of_class is None or (entries.dim() > 1 and of_class != 1):
        return None
    form = list(shape)
    form[of_class if entries.dim() > 1 or len(shape) == 2 else -1] = 1
    return entries.reshape(form) if entries.numel() == prod(form) else None


def _saved(node: Node, name: str) -> Tensor:
    tensor = saved_tensor(node, name)
    if tensor is None:
        raise LookupError(name)
    return tensor.detach()


def columns_before(start: Node) -> int | None:
    """How many columns the output has that one loss is computed of entry by entry; None where it is no such loss."""
    edge = _output_before(start)
    shape = None if edge is None else output_shape(edge)
    return None if shape is None else shape[1]


def below_columns(start: Node) -> list[Tensor]:
    """The parameters of the operator that puts that output out, as far as they lie at most a cast and a transposition
    below it."""
    edge = _output_before(start)
    if edge is None:
        return []
    node = edge[0]
    while node.name() == "ToCopyBackward0":
        node = children(node)[0][0]
    found = []
    for child, _ in children(node):
        while child.name() in ("TBackward0", "ToCopyBackward0"):
            child = children(child)[0][0]
        if hasattr(child, "variable"):
            found.append(child.variable)
    return found


def _output_before(start: Node) -> Edge | None:
    for count, node in enumerate(walk([start])):
        if count == _FEW_NODES:
            return None
        if node.name() in _BY_ENTRY:
            edge: Edge = node.next_functions[0]
            shape = output_shape(edge) if edge[0] is not None else None
            if shape is not None and len(shape) == 2 and 1 < shape[1] <= MOST_COLUMNS and shape[0] > 1:
                return edge
            return None
    return None


def share_sum(per_entry: Tensor | None, share: Tensor) -> float:
    """One task's part of the loss; NaN where it is not known."""
    if per_entry is None:
        return math.nan
    for dim, (here, given) in enumerate(zip(per_entry.shape, share.shape, strict=True)):
        if here == 1 < given:
            if share.stride(dim) != 0:
                return math.nan  # of classes, which share one loss
            share = share.narrow(dim, 0, 1)
    return float((per_entry.double() * share.to(per_entry.device).double()).sum())
