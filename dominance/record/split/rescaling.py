"""What the script did to a gradient between backward() and step(): nothing, a factor, a clipping, or something else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.compare import nonzero, same
from dominance.record.split.by_rows import laid, rows_of

Factor = Tensor | float | None
"""A number, one number for each coordinate, or None: the gradient was changed in another way."""

_SAME = 1e-5
"""Largest distance, relative to the gradient, from an exact multiple: float32 rounding over a few operations."""
ALIKE = 1e-4
"""Largest difference of the factors of two parameters that count as one factor."""


def factors(totals: Mapping[Tensor, Tensor], left: Mapping[Tensor, Tensor]) -> dict[Tensor, Factor]:
    """For each parameter, what its gradient was multiplied by since backward() left it.

    Of one number alone any other is a multiple: a parameter of one element takes a factor that a larger one has too,
    and one of its own only where every larger one has its own.

    Args:
        totals: the gradients that the optimizer is fed.
        left: those that backward() left; where one is missing nothing is known, and the factor is 1.
    """
    found = {p: _factor(total, left.get(p), p.dtype) for p, total in totals.items()}
    if are_one(found.values()):
        return found
    several = [f for p, f in found.items() if totals[p].numel() > 1 and nonzero(totals[p])]
    known = [f for f in several if isinstance(f, float)]
    own = len(known) == len(several) and math.isnan(uniform(known))
    for p, factor in found.items():
        if totals[p].numel() == 1 and factor != 1.0 and several:
            same = isinstance(factor, float) and (own or any(alike(factor, one, within(p)) for one in known))
            found[p] = factor if same else _clipped(p, totals, left, found)
    return found


def are_one(found: Iterable[Factor]) -> bool:
    """Whether all of these are exactly 1, as of gradients that nobody has touched."""
    return all(isinstance(factor, float) and factor == 1.0 for factor in found)


def within(parameter: Tensor) -> float:
    """How far the factors of two parameters may be apart that are one: in half precision, by some of its spacings."""
    return max(ALIKE, 2 * torch.finfo(parameter.dtype).eps)


def uniform(found: Iterable[Factor], limit: float = ALIKE) -> float:
    """The one factor of all parameters; NaN where there is no single one within this limit."""
    numbers = list(found)
    if not numbers:
        return 1.0
    plain = sorted(factor for factor in numbers if isinstance(factor, float))
    if len(plain) < len(numbers):
        return math.nan
    middle = plain[len(plain) // 2]
    return middle if all(alike(factor, middle, limit) for factor in plain) else math.nan


def alike(factor: float, other: float, limit: float = ALIKE) -> bool:
    """Whether two factors count as one."""
    return abs(factor - other) <= limit * abs(other)


def _factor(total: Tensor, before: Tensor | None, dtype: torch.dtype = torch.float32) -> Factor:
    if before is None or before is total or before.shape != total.shape or same(before, total):
        return 1.0
    if total.is_sparse:
        rows = rows_of((total, before))
        found = _factor(laid(total, rows), laid(before, rows), dtype)
        if not isinstance(found, Tensor):
            return found
        return torch.sparse_coo_tensor(rows[None], found, total.shape, is_coalesced=True, check_invariants=False)
    if (told := answers.of(answers.PRODUCTS, total, before)) is not None and (found := _by_products(*told)) is not None:
        return found
    square = float((before.double() * before.double()).sum())
    if not math.isfinite(square):
        return 1.0
    if square == 0.0:
        return None if nonzero(total) else 1.0
    factor = float((before.double() * total.double()).sum()) / square
    off = (total.double() - factor * before.double()).abs()
    if float(torch.linalg.vector_norm(off)) <= _SAME * float(torch.linalg.vector_norm(total.double())):
        return factor
    found = _by_coordinate(total, before)
    if found is None and dtype in (torch.float16, torch.bfloat16):
        # Every number was rounded by itself.
        numbers = torch.finfo(dtype)
        if bool((off <= 2 * numbers.eps * total.double().abs() + numbers.tiny).all()):
            return factor
    return found


def _by_products(square: float, inner: float, before: float) -> float | None:
    """The factor of a gradient that is a multiple of what it was before, by their squares and inner product."""
    if not (0 < before < math.inf and 0 < square < math.inf):
        return None
    factor = inner / before
    return factor if square - 2 * factor * inner + factor**2 * before <= _SAME**2 * square else None


def _by_coordinate(total: Tensor, before: Tensor) -> Tensor | None:
    """Clipping by value, or a mask: entries are as they were, zero, or cut to one largest size."""
    same, gone = total == before, total == 0
    cut = total.abs() == total.abs().max()
    cut &= (before.abs() >= total.abs()) & (before.sign() == total.sign())
    if not bool((same | gone | cut).all()):
        return None
    return torch.where(before == 0, torch.ones_like(total), total / before)


def _clipped(
    parameter: Tensor, totals: Mapping[Tensor, Tensor], left: Mapping[Tensor, Tensor], found: Mapping[Tensor, Factor]
) -> Factor:
    """A single number that was cut to the size that others were cut to by value; else it is not known."""
    size = float(totals[parameter].abs().max())
    for p, factor in found.items():
        if isinstance(factor, Tensor) and math.isclose(size, float(totals[p].abs().max()), rel_tol=_SAME):
            return _factor(totals[parameter], left.get(parameter), parameter.dtype)
    return None
