"""Tasks as shares of the gradient through one tensor: the columns of an output that feeds one loss, groups of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from dominance.record.tasks.graph import Edge, Node, children, output_shape, saved_tensor, walk

Shares = Mapping[str, Tensor]
"""Task name -> its share of each entry of the tensor, of a shape that broadcasts to the tensor's."""
MakesShares = Callable[[Tensor], Shares]

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


def by_class(target: Tensor, names: Sequence[str] | None = None) -> MakesShares:
    """What belongs to each class of a target is a task: its rows, or its pixels.

    Args:
        target: the class of each entry of the tensor, whose dimension of classes (the second) it lacks; or of each
            row. What is negative, as ``ignore_index``, is of no class.
        names: of the classes, from 0 on; None for their numbers.

    >>> sorted(by_class(torch.tensor([0, 2, 2]))(torch.zeros(3, 4)))
    ['0', '2']
    """

    def shares(tensor: Tensor) -> Shares:
        shape = tuple(target.shape)
        if tensor.dim() < 1 or shape not in {tuple(tensor.shape[:1]), (*tensor.shape[:1], *tensor.shape[2:])}:
            raise ValueError(
                f"by_class was given a target of shape {shape} for a tensor of shape {tuple(tensor.shape)}; "
                "give a class for each row, or for each entry without the dimension of classes, which is the second"
            )
        classes = [int(each) for each in torch.unique(target).tolist() if each >= 0]
        if names is not None and classes and classes[-1] >= len(names):
            raise ValueError(f"by_class was given {len(names)} names, and a target of class {classes[-1]}")
        at = target if tensor.dim() == 1 else target.unsqueeze(1)
        at = at.reshape(*at.shape, *[1] * (tensor.dim() - at.dim()))
        called = [str(number) if names is None else names[number] for number in classes]
        return {name: (at == number).to(tensor.dtype) for name, number in zip(called, classes, strict=True)}

    return shares


def by_part(**parts: Tensor) -> MakesShares:
    """Parts of a tensor are tasks: regions of an image, stretches of a sequence, blocks of a vector.

    Args:
        parts: task name -> its share of each entry, of a shape that broadcasts to the tensor's; a mask of True and
            False, or numbers.

    >>> sorted(by_part(left=torch.tensor([True, False]), right=torch.tensor([False, True]))(torch.zeros(3, 2)))
    ['left', 'right']
    """

    def shares(tensor: Tensor) -> Shares:
        for name, part in parts.items():
            try:
                torch.broadcast_to(part, tensor.shape)
            except RuntimeError:
                raise ValueError(
                    f"by_part was given {name} of shape {tuple(part.shape)} for a tensor of shape"
                    f" {tuple(tensor.shape)}; give a shape that broadcasts to it"
                ) from None
        return {name: part.to(tensor.device, tensor.dtype) for name, part in parts.items()}

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
        raise TypeError(
            "shares takes by_column(names), by_group(ids), by_class(target), by_part(name=mask), or a mapping of"
            " task names to share tensors"
        )
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
    return math.nan if per_entry is None else float((per_entry.double() * share.double()).sum())
