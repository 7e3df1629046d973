"""Losses whose values are not known, from the total and all others."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.record.tasks.found import FoundTask
from dominance.record.tasks.graph import Edge, Node, output_shape
from dominance.record.tasks.splitting import Term
from dominance.record.tasks.values import term_value
from dominance.record.tasks.weights import Root

_SUMS = (
    "AddBackward0",
    "SubBackward0",
    "StackBackward0",
    "SumBackward0",
    "NegBackward0",
    "CloneBackward0",
    "ToCopyBackward0",
)
_SCALINGS = ("MulBackward0", "DivBackward0", "MeanBackward0")


def by_difference(tasks: Sequence[FoundTask], roots: Sequence[Root], terms: Sequence[Term]) -> None:
    """The losses that are not known, from the total and all others: one as what is left, several as sums from zero."""
    unknown = [task for task in tasks if math.isnan(task.loss)]
    edges = {term.edge for term in terms}
    counted = {edge for task in tasks for edge in task.edges}
    if not unknown or not all(task.weight for task in unknown) or len(roots) != 1 or counted != edges:
        return
    tensor = roots[0].tensor
    if tensor is None or tensor.numel() != 1 or not _is_plain_sum(roots[0].edge, edges):
        return
    total = float((tensor.detach().double() * roots[0].gradient.double()).sum())
    known = sum(task.weight * task.loss for task in tasks if not math.isnan(task.loss))
    if len(unknown) == 1:
        unknown[0].loss = (total - known) / unknown[0].weight
        return
    sums = [_from_zero(task) for task in unknown]
    size = abs(known) + sum(map(abs, sums))
    # Had a constant been added anywhere, the total would show it.
    if abs(known + sum(sums) - total) <= 16 * torch.finfo(tensor.dtype).eps * size:
        for task, value in zip(unknown, sums, strict=True):
            task.loss = value / task.weight


def _from_zero(task: FoundTask) -> float:
    """The weighted loss of a task, if each of its terms is a sum that begins with zero; NaN where it is not known."""
    found = 0.0
    for (node, _), gradient in zip(task.edges, task.gradients, strict=True):
        value = _sum_from_zero(node) if gradient.numel() == 1 else None
        found += math.nan if value is None else float(gradient.detach().double()) * value
    return found


def _is_plain_sum(root: Edge, terms: Container[Edge]) -> bool:
    """Whether a loss is the weighted sum of its terms and nothing beside: no constant is added anywhere."""
    waiting = [root]
    while waiting:
        edge = waiting.pop()
        if edge in terms:
            continue
        node, _ = edge
        given = [child for child in node.next_functions if child[0] is not None]
        whole = len(given) == len(node.next_functions)
        # Of two factors that need gradient one is a weight that is learned: its own graph is no sum.
        if not (node.name() in _SUMS and whole) and not (node.name() in _SCALINGS and len(given) == 1):
            return False
        waiting += given
    return True


def _sum_from_zero(start: Node) -> float | None:
    """The value of a weighted sum of scalars to which nothing constant is added but zero, as sum() does at first.

    A constant that is added leaves no trace in the graph: whether there is one, the caller has to see by the total.
    """
    found = 0.0
    waiting = [(start, 1.0)]
    while waiting:
        node, factor = waiting.pop()
        given = [child for child, _ in node.next_functions if child is not None]
        number = _number(node) if len(given) == 1 and output_shape((node, 0)) == () else None
        if node.name() in ("AddBackward0", "SubBackward0"):
            signs = (1.0, float(node._saved_alpha) * (1 if node.name() == "AddBackward0" else -1))
            pairs = zip(node.next_functions, signs, strict=True)
            waiting += [(child, factor * sign) for (child, _), sign in pairs if child is not None]
        elif number is not None:
            waiting.append((given[0], factor * number))
        else:
            value = term_value(node)
            if value is None or value.numel() != 1:
                return None
            found += factor * float(value)
    return found


def _number(node: Node) -> float | None:
    """The constant that a scalar is multiplied by."""
    if node.name() not in ("MulBackward0", "DivBackward0"):
        return None
    saved: list[Any] = [getattr(node, f"_saved_{name}", None) for name in ("self", "other")]
    numbers = [float(each) for each in saved if isinstance(each, int | float) or _is_constant(each)]
    if len(numbers) != 1:
        return None
    return 1 / numbers[0] if node.name() == "DivBackward0" and numbers[0] else numbers[0]


def _is_constant(saved: object) -> bool:
    return isinstance(saved, Tensor) and saved.dim() == 0 and not saved.requires_grad
