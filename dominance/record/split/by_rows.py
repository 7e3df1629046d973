"""Gradients of a few rows of a large table: what is kept of a step, and worked out of it, is of these rows alone.

They are sparse tensors, coalesced, of one sparse dimension: the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_ORDERS = 4
"""Lists of rows that are remembered: of a few tables, and of a few passes in a step."""


@dataclass(frozen=True)
class _Order:
    """How entries that name a row each, some perhaps the same, are put in order, once each.

    Attributes:
        named: the row of each entry.
        rows: those rows, in order.
        first: of each row the first entry.
        others, into: the entries besides, and which of the rows each is added to; in order.
    """

    named: Tensor
    rows: Tensor
    first: Tensor
    others: Tensor
    into: Tensor

    @staticmethod
    def of(named: Tensor) -> _Order:
        in_order, entries = torch.sort(named)  # of equal ones the order is that in which ``coalesce`` adds them
        fresh = torch.ones_like(in_order, dtype=torch.bool)
        torch.ne(in_order[1:], in_order[:-1], out=fresh[1:])
        place, others = torch.cumsum(fresh, 0) - 1, ~fresh
        # A copy: a script may write the next batch where this one lies.
        return _Order(named.clone(), in_order[fresh], entries[fresh], entries[others], place[others])

    def lay(self, gradient: Tensor) -> Tensor:
        """What ``coalesce`` makes of a gradient whose entries name these rows, to the bit."""
        given = gradient._values()
        values = given.index_select(0, self.first)
        if len(self.others):
            values.index_add_(0, self.into, given.index_select(0, self.others))
        return torch.sparse_coo_tensor(
            self.rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False
        )


class Orders:
    """Gradients of one batch name the same rows, the tasks' and what lies in ``.grad``: they are put in order once."""

    def __init__(self) -> None:
        self._known: list[_Order] = []

    def as_rows(self, gradient: Tensor) -> Tensor:
        """A gradient as the rows that it holds; in float32 where it is of half precision."""
        held = gradient.detach()
        if not held.is_sparse or held.sparse_dim() != 1:
            held = held.to_dense().to_sparse(1)
        held = held.float() if held.dtype in (torch.float16, torch.bfloat16) else held
        if held.is_coalesced() or held.device.type != "cpu" or not held._nnz():
            return held.coalesce()
        named = held._indices()[0]
        for order in self._known:
            if order.named.shape == named.shape and torch.equal(order.named, named):
                return order.lay(held)
        self._known = [_Order.of(named), *self._known[: _MOST_ORDERS - 1]]
        return self._known[0].lay(held)


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
