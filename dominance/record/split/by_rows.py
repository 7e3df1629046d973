"""Gradients of a few rows of a large table: what is kept of a step, and worked out of it, is of these rows alone.

They are sparse tensors, coalesced, of one sparse dimension: the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def as_rows(gradient: Tensor) -> Tensor:
    """A gradient as the rows that it holds; in float32 where it is of half precision."""
    held = gradient.detach()
    if not held.is_sparse or held.sparse_dim() != 1:
        held = held.to_dense().to_sparse(1)
    held = held.float() if held.dtype in (torch.float16, torch.bfloat16) else held
    return held.coalesce()


def total(gradients: Sequence[Tensor]) -> Tensor:
    """The sum of gradients of one parameter, all of rows or none."""
    if not gradients[0].is_sparse:
        return torch.stack(list(gradients)).sum(0)
    whole = gradients[0]
    for gradient in gradients[1:]:
        whole = whole + gradient
    return whole.coalesce()


def rows_of(gradients: Iterable[Tensor]) -> Tensor:
    """The numbers of the rows that any of these holds, in order."""
    held: list[Tensor] = [gradient.indices()[0] for gradient in gradients]
    if all(each is held[0] or torch.equal(each, held[0]) for each in held):
        return held[0]
    together: Tensor = torch.unique(torch.cat(held))
    return together


def laid(gradient: Tensor, rows: Tensor) -> Tensor:
    """These rows of a gradient, which holds no others, one after the other; zero where it does not hold them."""
    held: Tensor = gradient.indices()[0]
    values: Tensor = gradient.values()
    if torch.equal(held, rows):
        return values
    found: Tensor = values.new_zeros((len(rows), *values.shape[1:]))
    found.index_copy_(0, torch.searchsorted(rows, held), values)
    return found


def spread(values: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of ``laid``, dense: zero but for these rows of the shape of ``like``."""
    found: Tensor = values.new_zeros(like.shape)
    found.index_copy_(0, rows, values)
    return found
