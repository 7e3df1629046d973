"""What a script does to finished gradients that is no factor and no mixture: seen where the change leaves them alone.

Gradient centralisation takes away the mean over all dimensions but the first (Yong et al. 2020, eq. 1): what a gradient
is without that mean is the same before and after. Clipping by value leaves every entry below its bound as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from dominance.record.compare import nonzero

View = Callable[[Tensor, Tensor], Tensor]
"""What is left alone of a gradient, the second argument, where the first was fed to the optimizer."""

_ROUNDING = 1e-5
"""Relative distance of two gradients that are the same but for the rounding of a few operations in float32."""


def whole(total: Tensor, gradient: Tensor) -> Tensor:
    """All of it: nothing but the mixture or a factor was done to the gradient."""
    return gradient


def centred(total: Tensor, gradient: Tensor) -> Tensor:
    """The gradient without its mean over all dimensions but the first; that of a vector as it is."""
    if gradient.dim() < 2:
        return gradient
    return gradient - gradient.mean(dim=tuple(range(1, gradient.dim())), keepdim=True)


def views(totals: Mapping[Tensor, Tensor]) -> Iterator[View]:
    """The changes that these gradients, which an optimizer was fed together, look like.

    Args:
        totals: what each parameter was fed.
    """
    tables = [total for total in totals.values() if total.dim() > 1 and nonzero(total)]
    if tables and all(_same(total, centred(total, total)) for total in tables):
        yield centred
    bound = max((float(total.abs().max()) for total in totals.values() if total.numel()), default=0.0)
    if bound and math.isfinite(bound) and sum(int((total.abs() == bound).sum()) for total in totals.values()) > 1:
        yield lambda total, gradient: torch.where(total.abs() == bound, 0, gradient)


def factor_beneath(totals: Mapping[Tensor, Tensor], left: Mapping[Tensor, Tensor]) -> float:
    """The one factor by which these gradients differ from those that backward() left, but for such a change; else NaN.

    Args:
        totals: what each parameter was fed.
        left: what backward() left of it.
    """
    for view in views(totals):
        pairs = [(view(totals[p], totals[p]).double(), view(totals[p], left[p]).double()) for p in totals]
        square = sum(float((before * before).sum()) for _, before in pairs)
        if not square or not math.isfinite(square):
            continue
        factor = sum(float((now * before).sum()) for now, before in pairs) / square
        off = sum(float((now - factor * before).square().sum()) for now, before in pairs)
        if factor and off <= _ROUNDING**2 * factor**2 * square:
            return factor
    return math.nan


def _same(one: Tensor, other: Tensor) -> bool:
    return float(torch.linalg.vector_norm(one - other)) <= _ROUNDING * float(torch.linalg.vector_norm(one))
