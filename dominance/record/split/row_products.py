"""Gradients of groups of rows by a matrix, of which some coordinates and all inner products are wanted: none is formed.

A group's gradient of a matrix is the sum over its rows of d aᵀ, where d is the gradient that came out of a product and
a what went in. Inner products are sums over pairs of rows of (a·a')(d·d'); where there are more rows than the matrix is
large, forming a part of all gradients at a time is quicker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dominance.record.split.group_rules import OutputRows
from dominance.record.split.products import TILE
from dominance.record.split.sampled import Float64s, gram_of
from dominance.record.tasks.graph import ACCUMULATE, Node

_ENTRY = 24
"""What it takes to write one entry of a gradient and to read it again, in multiplications of a matrix product."""
_BLOCKS, _LEAST_BLOCK = 4, 64
"""Of rows, whose products with each other are taken once, as far as a product of matrices does not get slow by it."""
_COLUMNS = 4096
"""Coordinates worked out at a time."""


@dataclass(frozen=True)
class RowFactors:
    """What a matrix's gradients are products of.

    Attributes:
        left, right: the gradients are sums over rows of left ⊗ right, (row, first dimension) and (row, second).
        codes: the group of each row, -1 for rows of none.
        groups: how many groups there are.
    """

    left: Tensor
    right: Tensor
    codes: Tensor
    groups: int

    def sampled(self, index: Tensor) -> tuple[Tensor, Float64s]:
        """The gradients at these coordinates of the matrix laid flat, (group, coordinate), and the inner products of
        all of them, (group, group)."""
        rows, height, width = len(self.codes), self.left.shape[1], self.right.shape[1]
        by_pairs = rows * (rows * (height + width) + _ENTRY * len(index))
        formed = height * width * (rows + self.groups * (self.groups + _ENTRY))
        return (self._at(index), self._by_pairs()) if by_pairs < formed else self._formed(index)

    def _at(self, index: Tensor) -> Tensor:
        member = self._member(self.left.dtype)
        first, second = index // self.right.shape[1], index % self.right.shape[1]
        found = [
            member @ self.left.index_select(1, a).mul_(self.right.index_select(1, b))
            for a, b in zip(torch.split(first, _COLUMNS), torch.split(second, _COLUMNS), strict=True)
        ]
        return torch.cat(found, 1)

    def _by_pairs(self) -> Float64s:
        member = self._member(self.left.dtype)
        found = torch.zeros(self.groups, self.groups, dtype=torch.float64, device=member.device)
        size = max(-(-len(self.codes) // _BLOCKS), _LEAST_BLOCK)
        for start in range(0, len(self.codes), size):  # each pair of blocks once
            left, right, mine = (rows[start : start + size] for rows in (self.left, self.right, member.T))
            pairs = (left @ self.left[start:].T).mul_(right @ self.right[start:].T)
            pairs[:, : len(left)] *= 0.5
            found += ((mine.T @ pairs) @ member[:, start:].T).double()
        return np.asarray((found + found.T).cpu().numpy())

    def _member(self, dtype: torch.dtype) -> Tensor:
        return (self.codes == torch.arange(self.groups, device=self.codes.device).unsqueeze(1)).to(dtype)

    def _formed(self, index: Tensor) -> tuple[Tensor, Float64s]:
        width = self.right.shape[1]
        kept, gram, start = [], np.zeros((self.groups, self.groups)), 0
        for formed in self._tiles():
            flat, end = formed.flatten(1), start + formed.shape[1] * width
            gram += gram_of(list(flat))
            first, last = torch.searchsorted(index, torch.tensor([start, end], device=index.device)).tolist()
            kept.append(flat[:, index[first:last] - start])
            start = end
        return torch.cat(kept, 1), gram

    def _height(self) -> int:
        return min(max(TILE // self.right.shape[1], 1), self.left.shape[1])

    def _tiles(self) -> Iterator[Tensor]:
        """Some lines of all groups' gradients at a time, (group, line, column); each is overwritten by the next."""
        order = torch.argsort(self.codes, stable=True)
        ends = torch.bincount(self.codes + 1, minlength=self.groups + 1).cumsum(0).tolist()
        left, right = self.left[order], self.right[order]
        room = left.new_empty(self.groups, self._height(), right.shape[1])
        for lines in torch.split(left, self._height(), 1):
            tile = room[:, : lines.shape[1]]
            for group, (start, end) in enumerate(pairwise(ends)):
                torch.mm(lines[start:end].t(), right[start:end], out=tile[group])
            yield tile


def joined(parts: Sequence[RowFactors]) -> RowFactors:
    """Of a matrix that several operators take in, the rows of all."""
    if len(parts) == 1:
        return parts[0]
    left, right, codes = (torch.cat(each) for each in zip(*((p.left, p.right, p.codes) for p in parts), strict=True))
    return RowFactors(left, right, codes, parts[0].groups)


def factors_of(node: Node, place: int, rows: OutputRows, parameter: Tensor) -> RowFactors | None:
    """What the gradients are made of by which a product of matrices takes a parameter in; None of other operators."""
    saved, scale = ROWS.get((node.name(), place), ("", ""))
    if not saved or parameter.dim() != 2 or parameter.is_complex():
        return None
    turned = False
    child = node.next_functions[place][0]
    while child.name() in ("ToCopyBackward0", "TBackward0"):
        turned ^= child.name() == "TBackward0"
        child = child.next_functions[0][0]
    if child.name() != ACCUMULATE or child.variable is not parameter:
        return None
    gradient, codes = rows.only
    given = getattr(node, saved)
    if given.dim() != 2 or (gradient.shape[1], given.shape[1]) != tuple(parameter.shape)[:: 1 if turned else -1]:
        return None
    wide = torch.float64 if gradient.dtype == torch.float64 else torch.float32
    factor = float(getattr(node, scale)) if scale else 1.0
    gradient, given = gradient.detach().to(wide), given.detach().to(wide)
    gradient = gradient if factor == 1 else gradient * factor
    left, right = (gradient, given) if turned else (given, gradient)
    return RowFactors(left, right, codes, rows.groups)


ROWS = {("AddmmBackward0", 2): ("_saved_mat1", "_saved_alpha"), ("MmBackward0", 1): ("_saved_self", "")}
"""By operator, and which of its inputs is the matrix: where it keeps the rows, and the factor on the product."""
