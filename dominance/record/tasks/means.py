"""Means that are written by hand: a sum over a batch, divided by how many were summed."""

from __future__ import annotations

from itertools import accumulate
from operator import mul

from torch import Tensor

from dominance.record.tasks.graph import POINTWISE_LOSSES, QUOTIENTS, Edge, Node, output_shape, output_size
from dominance.record.tasks.questions import question

_SUMS = ("SumBackward", *POINTWISE_LOSSES)
_SUM = 2
"""What autograd keeps of ``reduction="sum"``."""
_PRODUCTS = ("MulBackward0", "MulBackward1")


@question
def is_mean(edge: Edge) -> bool:
    """Whether this scalar is a sum over all entries of a tensor, over their number or that of the samples.

    Such a factor is no weight of a loss but the end of its definition, as in ``F.mse_loss(..., reduction="sum") / n``.
    """
    node = edge[0]
    summed = node.next_functions[0][0] if node.next_functions else None
    count = _count(node)
    if summed is None or count is None or output_size(edge) != 1 or not summed.name().startswith(_SUMS):
        return False
    if getattr(summed, "_saved_reduction", _SUM) != _SUM:
        # A mean already: one over as many micro-batches as there are samples in each.
        return False
    sizes = _sizes(summed)
    return any(abs(count - size) <= 1e-6 * size for size in sizes)


def _sizes(summed: Node) -> list[int]:
    """How many entries it sums: of the first dimension, of the first two, …, of all."""
    shapes = [output_shape(child) for child in summed.next_functions if child[0] is not None]
    shape = next((shape for shape in shapes if shape), None)
    return [] if shape is None else [size for size in accumulate(shape, mul) if size > 1]


def _count(node: Node) -> float | None:
    """The number that a node divides by."""
    number = _number(getattr(node, "_saved_other", None))
    if node.name() in QUOTIENTS:
        return number
    return 1 / number if number and node.name() in _PRODUCTS else None


def _number(other: object) -> float | None:
    """A number of the script's, which waits for no device."""
    if isinstance(other, int | float):
        return float(other)
    if isinstance(other, Tensor) and not (other.dim() or other.requires_grad) and other.device.type == "cpu":
        return float(other)
    return None
