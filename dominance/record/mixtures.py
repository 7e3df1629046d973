"""Gradients that the script mixed itself from those of the tasks: which mixture they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from dominance.record.compare import nonzero
from dominance.record.rows import inner_products
from dominance.record.splits import GradientSplit

_EXACT = 1e-5
"""Largest residual, relative to the gradient, of a mixture that a parameter is taken to have of its own."""

_PLAIN = 1.5
"""How much larger the square of what a plain sum leaves may be than what the nearest mixture leaves."""

TaskGradients = Mapping[str, Tensor]
Plain = Callable[[int], float]
"""The weight of each of so many tasks."""


def unmixed(
    totals: Mapping[Tensor, Tensor], parts: Mapping[Tensor, TaskGradients]
) -> tuple[dict[Tensor, GradientSplit], list[tuple[list[Tensor], dict[str, float]]]]:
    """The mixture w with sum_k w_k g_k nearest to what was fed, least squares; the distance that remains is residual.

    Gradient manipulation acts on the shared parameters together and leaves task-specific ones alone: the weights are
    fitted for each set of parameters that the same tasks reach. Of all mixtures that fit, the smallest is taken. Where
    no such mixture explains a parameter's gradient and one of its own does, it has that; the weights are then NaN.

    Args:
        totals: the gradient that each parameter was fed.
        parts: gradient of each task, by parameter.

    Returns:
        The splits, and for each set of parameters the weights, the set of most tasks last.
    """
    groups: dict[tuple[str, ...], list[Tensor]] = {}
    for p in totals:
        groups.setdefault(tuple(parts[p]), []).append(p)
    largest = max(groups, key=lambda names: sum(p.numel() for p in groups[names]), default=())
    products = _products(totals, parts, groups[largest]) if largest else None
    plain = None if products is None else _plain(products)
    splits: dict[Tensor, GradientSplit] = {}
    weights: list[tuple[list[Tensor], dict[str, float]]] = []
    for names, members in sorted(groups.items(), key=lambda group: len(group[0])):
        if not names:
            splits.update({p: GradientSplit({}, totals[p].clone(), totals[p]) for p in members})
            continue
        if plain is not None:
            fitted = dict.fromkeys(names, plain(len(names)))
        else:
            known = products if names == largest and products is not None else _products(totals, parts, members)
            fitted = dict(zip(names, _nearest(known).tolist(), strict=True))
        one = fitted
        for p in members:
            mine, tasks, residual = fitted, *_parts(p, totals, parts, fitted)
            if (
                plain is None
                and residual is not None
                and p.numel() > 2 * len(names)
                and not _explained(totals[p], residual)
            ):
                # The script may have mixed each parameter's gradients on their own.
                alone = dict(zip(names, _nearest(_products(totals, parts, [p])).tolist(), strict=True))
                own, left = _parts(p, totals, parts, alone)
                if left is None or _explained(totals[p], left):
                    mine, tasks, residual = alone, own, left
            splits[p] = GradientSplit(tasks, residual, residual)
            if mine is not fitted:
                one = dict.fromkeys(names, math.nan)
        fitted = one
        weights.append((members, fitted))
    return splits, weights


def _products(
    totals: Mapping[Tensor, Tensor], parts: Mapping[Tensor, TaskGradients], members: Sequence[Tensor]
) -> Tensor:
    """(task + 1, task + 1) inner products of the tasks' gradients and, last, of what was fed, over all members."""
    return torch.as_tensor(sum(inner_products([*parts[p].values(), totals[p]]) for p in members))


def _nearest(products: Tensor) -> Tensor:
    """(task) The weights of the mixture that is nearest to what was fed."""
    found: Tensor = torch.linalg.lstsq(products[:-1, :-1], products[:-1, -1:], driver="gelsd").solution[:, 0]
    return found


def _plain(products: Tensor) -> Plain | None:
    """Whether what was fed is a plain sum or mean of the tasks' gradients with something else added, like noise.

    A fit takes of that as much as it can, and all of it where there are few numbers: ``products`` are of the most.
    """
    gram, target, square = products[:-1, :-1], products[:-1, -1], float(products[-1, -1])

    def off(weights: Tensor) -> float:
        return float(square - 2 * weights @ target + weights @ gram @ weights)

    left = off(_nearest(products))
    if left <= (10 * _EXACT) ** 2 * square:
        return None
    ways: list[Plain] = [lambda _: 1.0, lambda several: 1 / several]
    return next((way for way in ways if off(torch.full_like(target, way(len(target)))) <= _PLAIN * left), None)


def _parts(
    parameter: Tensor,
    totals: Mapping[Tensor, Tensor],
    parts: Mapping[Tensor, TaskGradients],
    weights: Mapping[str, float],
) -> tuple[dict[str, Tensor], Tensor | None]:
    tasks = {name: parts[parameter][name] * w for name, w in weights.items()}
    return closed(parameter, totals[parameter], tasks)


def _explained(total: Tensor, residual: Tensor) -> bool:
    """Whether what is left of a gradient is the rounding of a few operations."""
    return float(torch.linalg.vector_norm(residual)) <= _EXACT * float(torch.linalg.vector_norm(total))


def closed(parameter: Tensor, total: Tensor, tasks: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """The tasks' gradients of a parameter, and the part of its gradient that belongs to none of them.

    What is left is rounding most of the time. It is not dropped, but goes to the largest task that has a gradient
    there: an optimizer that divides by the size of a gradient makes whole steps of one that holds nothing else.
    """
    left = total.clone()
    sizes = {name: float(torch.linalg.vector_norm(gradient)) for name, gradient in tasks.items()}
    for gradient in tasks.values():
        left -= gradient
    size = float(torch.linalg.vector_norm(total)) + sum(sizes.values())
    rounding = 4 * torch.finfo(parameter.dtype).eps
    held = dict(tasks)
    if not tasks or not float(torch.linalg.vector_norm(left)) <= rounding * size:
        return held, left
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if not nonzero(left):
            break
        here = tasks[name] != 0
        beyond = None if here.all() else left.masked_fill(here, 0)
        if beyond is None or not nonzero(beyond):
            held[name] = left.add_(tasks[name])
            return held, None
        held[name] = torch.where(here, tasks[name] + left, tasks[name])
        left = beyond
    return held, left if nonzero(left) else None


def rest(parameter: Tensor, total: Tensor, tasks: Iterable[Tensor]) -> Tensor | None:
    """The part of the gradient that belongs to none of these; None where it is rounding."""
    left = total.clone()
    size, several = float(torch.linalg.vector_norm(total)), False
    for gradient in tasks:
        left -= gradient
        size += float(torch.linalg.vector_norm(gradient))
        several = True
    rounding = 4 * torch.finfo(parameter.dtype).eps
    return None if several and float(torch.linalg.vector_norm(left)) <= rounding * size else left
