"""Tasks as shares of the gradient through one tensor: the columns of an output that feeds one loss, groups of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from dominance.record.graph import Edge, Node, children, output_shape, saved_tensor, walk

Shares = Mapping[str, Tensor]
"""Task name -> its share of each entry of the tensor, of a shape that broadcasts to the tensor's."""
MakesShares = Callable[[Tensor], Shares]

_MOST_COLUMNS = 1000
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
_told: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Tensor -> its shares, for as long as the tensor lives."""


def by_column(names: Sequence[str]) -> MakesShares:
    """Each column (entry of the last dimension) of a tensor is a task.

    Args:
        names: one for each column.

    >>> sorted(by_column(["rain", "wind"])(torch.zeros(8, 2)))
    ['rain', 'wind']
    """
    listed = [str(name) for name in names]

    def shares(tensor: Tensor) -> Shares:
        if tensor.dim() == 0 or tensor.shape[-1] != len(listed):
            raise ValueError(
                f"by_column was given {len(listed)} names for a tensor of shape {tuple(tensor.shape)}; "
                "give one for each entry of its last dimension"
            )
        if len(set(listed)) != len(listed):
            raise ValueError("by_column was given the same name twice; give each column one of its own")
        eye = torch.eye(len(listed), dtype=tensor.dtype, device=tensor.device)
        return dict(zip(listed, eye, strict=True))

    return shares


def by_group(ids: Sequence[object] | Tensor) -> MakesShares:
    """The rows of each group (a data set, a domain, a user segment) are a task, named after its id.

    Args:
        ids: one for each row (entry of the first dimension).

    >>> sorted(by_group(["news", "mail", "news"])(torch.zeros(3, 2)))
    ['mail', 'news']
    """
    listed = [str(each) for each in (ids.tolist() if isinstance(ids, Tensor) else ids)]

    def shares(tensor: Tensor) -> Shares:
        if tensor.dim() == 0 or tensor.shape[0] != len(listed):
            raise ValueError(
                f"by_group was given {len(listed)} ids for a tensor of shape {tuple(tensor.shape)}; "
                "give one for each entry of its first dimension"
            )
        shape = (-1, *[1] * (tensor.dim() - 1))
        masks = {}
        for name in dict.fromkeys(listed):
            mask = torch.tensor([each == name for each in listed], dtype=tensor.dtype, device=tensor.device)
            masks[name] = mask.reshape(shape)
        return masks

    return shares


def told(at: Tensor, shares: MakesShares | Shares) -> dict[str, Tensor]:
    """Remember the shares of ``at``; returned is what to observe: the same tensor under each task's name.

    Raises:
        TypeError: ``at`` is no tensor that needs gradient, or the shares are none.
        ValueError: the shares do not fit it.
    """
    if not isinstance(at, Tensor) or not at.requires_grad:
        raise TypeError("observe(at=...) takes a tensor that needs gradient, like the logits before the loss")
    made = shares(at) if callable(shares) else shares
    if not isinstance(made, Mapping) or not all(isinstance(share, Tensor) for share in made.values()):
        raise TypeError("shares takes by_column(names), by_group(ids), or a mapping of task names to share tensors")
    masks = {str(name): share.detach().to(at.dtype).expand_as(at) for name, share in made.items()}
    _told[at] = masks
    return dict.fromkeys(masks, at)


def shares_of(tensor: Tensor) -> Shares | None:
    """The shares that the user told of this tensor."""
    found: Shares | None = _told.get(tensor)  # type: ignore[no-untyped-call]
    return found


def share_of_loss(roots: Sequence[Node], at: Edge, weight_of: Callable[[Edge], Tensor | None]) -> Tensor | None:
    """The loss of each entry of the tensor at this edge, as it counts in the root; None where it cannot be known.

    Known where losses that are computed entry by entry are all that takes in the tensor, as the shape tells.
    """
    above = [node for node in walk(roots) if at in children(node)]
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


def _saved(node: Node, name: str) -> Tensor:
    tensor = saved_tensor(node, name)
    if tensor is None:
        raise LookupError(name)
    return tensor.detach()


def columns_before(start: Node) -> int | None:
    """How many columns the output has that one loss is computed of entry by entry; None where it is no such loss."""
    for count, node in enumerate(walk([start])):
        if count == _FEW_NODES:
            return None
        if node.name() in _BY_ENTRY:
            shape = output_shape(node.next_functions[0]) if node.next_functions[0][0] is not None else None
            if shape is not None and len(shape) == 2 and 1 < shape[1] <= _MOST_COLUMNS and shape[0] > 1:
                return shape[1]
            return None
    return None


def share_sum(per_entry: Tensor | None, share: Tensor) -> float:
    """One task's part of the loss; NaN where it is not known."""
    return math.nan if per_entry is None else float((per_entry.double() * share.double()).sum())
