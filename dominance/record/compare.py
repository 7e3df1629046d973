"""Whether tensors are zero, or the same: told by the first of their entries wherever these tell it."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.record import answers

_FIRST = 2048
"""So many entries are looked at before all: a pass over a large tensor costs as much as a good part of its gradient."""


def nonzero(tensor: Tensor) -> bool:
    """Whether any entry is other than zero, NaN included; of a sparse tensor, which is coalesced."""
    if tensor.is_sparse:
        return nonzero(tensor.values())
    if (told := answers.of(answers.NONZERO, tensor)) is not None:
        return bool(told[0])
    if tensor.numel() > 2 * _FIRST and bool(first_entries(tensor).any()):
        return True
    return bool(tensor.any())


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers. NaN may count as the same as NaN of the same bits."""
    if one.is_sparse or other.is_sparse:
        return one.layout == other.layout and one.shape == other.shape and _same_rows(one, other)
    if (told := answers.of(answers.SAME, one, other)) is not None:
        return bool(told[0])
    return _same_bits(one, other) or torch.equal(one, other)


def _same_rows(one: Tensor, other: Tensor) -> bool:
    """The same of coalesced sparse tensors."""
    return torch.equal(one.indices(), other.indices()) and same(one.values(), other.values())


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether large tensors are the same to the bit, which integers of eight bytes tell in half the time; False where
    these cannot be laid over them."""
    if one.numel() <= 2 * _FIRST or one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    laid: list[Tensor] = []
    for each in (one.detach(), other.detach()):
        size = each.element_size()
        if type(each) is not Tensor or not each.is_contiguous():
            return False
        if each.numel() * size % 8 or each.storage_offset() * size % 8:
            return False
        laid.append(each.reshape(-1).view(torch.int64))
    return torch.equal(*laid)


def differ_at_first(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape and dtype differ in their first entries, NaN being equal to NaN; of small
    tensors it is not asked."""
    if one.numel() <= 2 * _FIRST or one.device != other.device:
        return False
    return not torch.equal(first_entries(one).nan_to_num(), first_entries(other).nan_to_num())


def first_entries(tensor: Tensor, count: int = _FIRST) -> Tensor:
    """Some entries, about ``count``: the first, of whatever layout in memory. No copy of the whole is made."""
    while tensor.dim() > 1:
        inner = tensor[0].numel() if len(tensor) else 0
        if inner < count:
            return tensor[: -(-count // max(inner, 1))]
        tensor = tensor[0]
    return tensor.reshape(-1)[:count]
