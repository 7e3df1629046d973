"""The value of a term whose tensor is gone: worked out again from what its autograd node saved for backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dominance.record.tasks.graph import Node, saved_tensor

_REDUCTIONS = ("none", "mean", "sum")


def term_value(node: Node) -> Tensor | None:
    """Value of the tensor that ``node`` made, or None where the node did not save enough to know it.

    Covers the losses of ``torch.nn.functional`` and the usual hand-written ones (mean or sum of a power, a product, an
    absolute value): they save their inputs for backward anyway, so nothing extra is kept alive. The value has the shape
    that the tensor had.
    """
    with torch.no_grad():
        return _value(node)


def _value(node: Node) -> Tensor | None:
    rule = _RULES.get(node.name())
    if rule is None:
        result = saved_tensor(node, "result")
        return None if result is None else result.detach()
    try:
        value = rule(node)
    except (AttributeError, RuntimeError, _UnknownError):
        # A saved tensor that was freed or changed in place: the value is not known, which the run shows as NaN.
        return None
    return value if value.shape == _shape(node) else None


class _UnknownError(Exception):
    """A value that this term is made of was not saved."""


def _saved(node: Node, name: str) -> Tensor:
    tensor = saved_tensor(node, name)
    if tensor is None:
        raise _UnknownError(name)
    return tensor.detach()


def _optional(node: Node, name: str) -> Tensor | None:
    """A tensor that the loss may have been given; raises RuntimeError where it was freed or changed since."""
    tensor: Tensor | None = getattr(node, f"_saved_{name}")
    return tensor


def _child(node: Node, position: int = 0) -> Tensor:
    child = node.next_functions[position][0]
    value = None if child is None else _value(child)
    if value is None:
        raise _UnknownError(node.name())
    return value


def _factor(node: Node, name: str, position: int) -> Tensor:
    """An input of a product: not saved where the other input needs no gradient."""
    tensor = saved_tensor(node, name)
    return _child(node, position) if tensor is None else tensor.detach()


def _shape(node: Node) -> tuple[int, ...]:
    """Shape of the tensor that a node made."""
    return tuple(int(size) for size in node._input_metadata[0].shape)


def _reduction(node: Node) -> str:
    return _REDUCTIONS[node._saved_reduction]


def _signed(number: int) -> int:
    """Some numbers are saved as unsigned: -100 comes back as 2**64 - 100."""
    return (number + 2**63) % 2**64 - 2**63


def _nll(node: Node) -> Tensor:
    return F.nll_loss(
        _saved(node, "self"), _saved(node, "target"), _optional(node, "weight"),
        ignore_index=_signed(node._saved_ignore_index), reduction=_reduction(node),
    )  # fmt: skip


def _bce(node: Node) -> Tensor:
    weight = _optional(node, "weight")
    return F.binary_cross_entropy(_saved(node, "self"), _saved(node, "target"), weight, reduction=_reduction(node))


def _bce_logits(node: Node) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        _saved(node, "self"), _saved(node, "target"), _optional(node, "weight"),
        pos_weight=_optional(node, "pos_weight"), reduction=_reduction(node),
    )  # fmt: skip


def _pair(loss: Callable[..., Tensor]) -> Callable[[Node], Tensor]:
    return lambda node: loss(_saved(node, "self"), _saved(node, "target"), reduction=_reduction(node))


def _add(node: Node) -> Tensor:
    alpha: float = node._saved_alpha
    return _child(node, 0) + alpha * _child(node, 1)


def _sub(node: Node) -> Tensor:
    alpha: float = node._saved_alpha
    return _child(node, 0) - alpha * _child(node, 1)


def _dims(node: Node) -> tuple[int, ...] | None:
    dims = node._saved_dim
    return None if dims is None else tuple(_signed(dim) for dim in dims)


def _sum_over(node: Node) -> Tensor:
    return _child(node).sum(_dims(node), node._saved_keepdim)


def _mean_over(node: Node) -> Tensor:
    return _child(node).mean(_dims(node), node._saved_keepdim)


def _index(number: int) -> int:
    return _signed(int(number))


def _select(node: Node) -> Tensor:
    return _child(node).select(_index(node._saved_dim), _index(node._saved_index))


def _gather(node: Node) -> Tensor:
    return _child(node).gather(_index(node._saved_dim), _saved(node, "index"))


_RULES: dict[str, Callable[[Any], Tensor]] = {
    "MseLossBackward0": _pair(F.mse_loss),
    "SmoothL1LossBackward0": lambda n: F.smooth_l1_loss(
        _saved(n, "self"), _saved(n, "target"), reduction=_reduction(n), beta=n._saved_beta
    ),
    "HuberLossBackward0": lambda n: F.huber_loss(
        _saved(n, "self"), _saved(n, "target"), reduction=_reduction(n), delta=n._saved_delta
    ),
    "SoftMarginLossBackward0": _pair(F.soft_margin_loss),
    "NllLossBackward0": _nll,
    "NllLoss2DBackward0": _nll,
    "BinaryCrossEntropyBackward0": _bce,
    "BinaryCrossEntropyWithLogitsBackward0": _bce_logits,
    "PowBackward0": lambda n: _saved(n, "self") ** n._saved_exponent,
    "MulBackward0": lambda n: _factor(n, "self", 0) * _factor(n, "other", 1),
    "DivBackward0": lambda n: _factor(n, "self", 0) / _saved(n, "other"),
    "AbsBackward0": lambda n: _saved(n, "self").abs(),
    "LogBackward0": lambda n: _saved(n, "self").log(),
    "Log1PBackward0": lambda n: _saved(n, "self").log1p(),
    "SoftplusBackward0": lambda n: F.softplus(_saved(n, "self"), float(n._saved_beta), float(n._saved_threshold)),
    "LogSigmoidBackward0": lambda n: F.logsigmoid(_saved(n, "self")),
    "ClampBackward1": lambda n: _saved(n, "self").clamp(n._saved_min, n._saved_max),
    "NegBackward0": lambda n: -_child(n),
    "MeanBackward0": lambda n: _child(n).mean(),
    "MeanBackward1": _mean_over,
    "SumBackward0": lambda n: _child(n).sum(),
    "SumBackward1": _sum_over,
    "AddBackward0": _add,
    "SubBackward0": _sub,
    "GatherBackward0": _gather,
    "SelectBackward0": _select,
    "UnsqueezeBackward0": lambda n: _child(n).reshape(_shape(n)),
    "SqueezeBackward1": lambda n: _child(n).reshape(_shape(n)),
    "SqueezeBackward0": lambda n: _child(n).squeeze(),
    "ViewBackward0": lambda n: _child(n).reshape(_shape(n)),
    "CloneBackward0": _child,
    "ToCopyBackward0": _child,
}  # fmt: skip
