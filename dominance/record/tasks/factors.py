"""Constants that a script multiplies a loss by before it gives it a name: weights that no sum of losses shows."""

from __future__ import annotations

from torch import Tensor

from dominance.record.tasks.graph import Edge, output_size, saved_tensor

_MEAN = 1
"""How a node of a loss says that it averages over the samples."""
_MOST = 8
"""Constants in front of one loss that are looked through."""


def constant_within(edge: Edge) -> float:
    """The constant by which what is named at this edge is the mean of a loss over samples; 1 where it is none.

    ``loss = 0.002 * F.mse_loss(...)`` gives 0.002. A constant in front of a sum over samples may be one over their
    number, and is no weight; nor is a negative one, as of a likelihood.
    """
    product = 1.0
    for _ in range(_MOST):
        node, _ = edge
        if _averages(edge):
            return product
        below = node.next_functions
        loaded = [i for i, (child, _) in enumerate(below) if child is not None]
        if len(loaded) != 1 or node.name() not in ("MulBackward0", "DivBackward0"):
            return 1.0
        if node.name() == "DivBackward0" and loaded != [0]:
            return 1.0
        constant = _number(node, "self" if loaded == [1] else "other")
        edge = below[loaded[0]]
        if constant is None or not constant > 0 or output_size(edge) != 1:
            return 1.0
        product = product / constant if node.name() == "DivBackward0" else product * constant
    return 1.0


def _averages(edge: Edge) -> bool:
    """Whether a scalar is a mean, or one of torch's losses with ``reduction="mean"``."""
    node, _ = edge
    name = node.name()
    if "Loss" in name or name.startswith(("BinaryCrossEntropy", "SoftMargin")):
        return getattr(node, "_saved_reduction", None) == _MEAN
    return bool(name.startswith("MeanBackward"))


def _number(node: object, name: str) -> float | None:
    """What a node saved under this name, where it is a number that nobody needs to wait for."""
    saved = saved_tensor(node, name)
    if type(saved) is not Tensor or saved.numel() != 1 or saved.device.type != "cpu" or saved.is_complex():
        return None
    return float(saved.detach())
