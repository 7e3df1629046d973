"""Gradients that the script mixed itself from those of the tasks: which mixture they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dominance.record.attribution import GradientSplit
from dominance.record.rows import inner_products

TaskGradients = Mapping[str, Tensor]


def unmixed(
    totals: Mapping[Tensor, Tensor], parts: Mapping[Tensor, TaskGradients]
) -> tuple[dict[Tensor, GradientSplit], list[tuple[list[Tensor], dict[str, float]]]]:
    """The mixture w with sum_k w_k g_k nearest to what was fed, least squares; the distance that remains is residual.

    Gradient manipulation acts on the shared parameters together and leaves task-specific ones alone: the weights are
    fitted for each set of parameters that the same tasks reach. Of all mixtures that fit, the smallest is taken.

    Args:
        totals: the gradient that each parameter was fed.
        parts: gradient of each task, by parameter.

    Returns:
        The splits, and for each set of parameters the weights, the set of most tasks last.
    """
    groups: dict[tuple[str, ...], list[Tensor]] = {}
    for p in totals:
        groups.setdefault(tuple(parts[p]), []).append(p)
    splits: dict[Tensor, GradientSplit] = {}
    weights: list[tuple[list[Tensor], dict[str, float]]] = []
    for names, members in sorted(groups.items(), key=lambda group: len(group[0])):
        if not names:
            splits.update({p: GradientSplit({}, totals[p].clone(), totals[p]) for p in members})
            continue
        matrix = torch.as_tensor(sum(inner_products([*parts[p].values(), totals[p]]) for p in members))
        found = torch.linalg.lstsq(matrix[:-1, :-1], matrix[:-1, -1:], driver="gelsd").solution[:, 0]
        fitted = {name: float(w) for name, w in zip(names, found, strict=True)}
        for p in members:
            tasks = {name: parts[p][name] * w for name, w in fitted.items()}
            residual = rest(p, totals[p], tasks.values())
            splits[p] = GradientSplit(tasks, residual, residual)
        weights.append((members, fitted))
    return splits, weights


def rest(parameter: Tensor, total: Tensor, tasks: Iterable[Tensor]) -> Tensor | None:
    """The part of the gradient that belongs to no task; None where it is rounding."""
    left = total.clone()
    size, several = float(torch.linalg.vector_norm(total)), False
    for gradient in tasks:
        left -= gradient
        size += float(torch.linalg.vector_norm(gradient))
        several = True
    rounding = 4 * torch.finfo(parameter.dtype).eps
    return None if several and float(torch.linalg.vector_norm(left)) <= rounding * size else left
