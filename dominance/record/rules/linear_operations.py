"""What each linear operation of torch does to the parts of its arguments; an operation that is not here keeps none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dominance.record.rules.parts import THETA, Parts


class Carrier(Protocol):
    """Knows the parts of tensors."""

    def parts(self, value: Any) -> Parts:
        """The parts of a tensor; empty for one that holds none, and for anything else."""


Handler = Callable[..., Parts]


def _sum(*terms: tuple[Parts, Any]) -> Parts:
    """Sum of parts, each times a factor."""
    found: Parts = {}
    for parts, factor in terms:
        for name, part in parts.items():
            term = part if isinstance(factor, (int, float)) and factor == 1 else part * factor
            found[name] = found[name] + term if name in found else term
    return found


def _live(parts: Parts) -> bool:
    """Whether anything but the parameter itself is in it."""
    return any(name != THETA for name in parts)


def _first_is_linear(carrier: Carrier, a: Any, b: Any) -> bool | None:
    """Which factor of a product its parts go through; None: neither, it is of second order.

    What is left of the other is its value. A weight (which holds only itself) is the factor beside a gradient, and the
    smaller of two (a dot product, a mean) the factor of the larger one.
    """
    mine, other = carrier.parts(a), carrier.parts(b)
    if not mine or not other:
        return bool(mine) if mine or other else None
    if _live(mine) != _live(other):
        return _live(mine)
    if not _live(mine) or a.numel() == b.numel():
        return None
    return bool(a.numel() > b.numel())


def _product(carrier: Carrier, a: Any, b: Any, multiply: Callable[[Any, Any], Tensor]) -> Parts:
    first = _first_is_linear(carrier, a, b)
    if first is None:
        return {}
    if first:
        return {name: multiply(part, _like(b, part)) for name, part in carrier.parts(a).items()}
    return {name: multiply(_like(a, part), part) for name, part in carrier.parts(b).items()}


def _like(factor: Any, part: Tensor) -> Any:
    """A factor in the precision of the part: matrix products ask for it."""
    return factor.to(part.dtype) if isinstance(factor, Tensor) and factor.is_floating_point() else factor


def _times(a: Any, b: Any) -> Tensor:
    product: Tensor = a * b
    return product


def add(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
    return _sum((carrier.parts(args[0]), 1), (carrier.parts(args[1]), alpha))


def sub(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
    return _sum((carrier.parts(args[0]), 1), (carrier.parts(args[1]), -alpha))


def rsub(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
    return _sum((carrier.parts(args[0]), -alpha), (carrier.parts(args[1]), 1))


def mul(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    return _product(carrier, args[0], args[1], _times)


def div(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    if kwargs.get("rounding_mode") is not None:
        return {}
    return {name: part / args[1] for name, part in carrier.parts(args[0]).items()}


def addcmul(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    value = kwargs.get("value", args[3] if len(args) > 3 else 1)
    return _sum((carrier.parts(args[0]), 1), (_product(carrier, args[1], args[2], _times), value))


def addcdiv(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    value = kwargs.get("value", args[3] if len(args) > 3 else 1)
    return _sum((carrier.parts(args[0]), 1), (div(carrier, func, args[1:3], {}), value))


def lerp(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    start, end, weight = carrier.parts(args[0]), carrier.parts(args[1]), kwargs.get("weight", args[-1])
    # start + weight (end - start): nothing is left of what both hold alike
    return _sum((start, 1), (_sum((end, 1), (start, -1)), weight))


def where(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    if len(args) < 3:
        return {}
    yes, no = carrier.parts(args[1]), carrier.parts(args[2])
    zero = torch.zeros((), dtype=torch.float64, device=args[0].device)
    return {name: torch.where(args[0], yes.get(name, zero), no.get(name, zero)) for name in {**yes, **no}}


def masked_fill(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    return {name: part.masked_fill(args[1], 0.0) for name, part in carrier.parts(args[0]).items()}


def clamp(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    """A clip by value is a factor of at most one on each entry, as a clip by norm is one on all; so of a clamp that
    leaves zero as it is. Where it does not, it is linear only in the entries that it leaves as they are.
    """
    value = args[0]
    clamped = func(value, *args[1:], **kwargs)
    keeps_zero = not func(torch.zeros_like(value), *args[1:], **kwargs).any()
    same = torch.ones_like(value)
    factor = torch.where(clamped == value, same, clamped / value if keeps_zero else 0 * same)
    return {name: part * factor for name, part in carrier.parts(value).items()}


def nan_to_num(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    finite = torch.isfinite(args[0])
    return {name: part.masked_fill(~finite, 0.0) for name, part in carrier.parts(args[0]).items()}


def copy(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    return {name: part.clone() for name, part in carrier.parts(args[1 if len(args) > 1 else 0]).items()}


def clone(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    return {name: part.clone() for name, part in carrier.parts(args[0]).items()}


def structural(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
    """An operation that is linear in its first argument, or in the tensors of the list that it is."""
    given = {key: value for key, value in kwargs.items() if key != "dtype"}
    if isinstance(args[0], Tensor):
        return {name: func(part, *args[1:], **given) for name, part in carrier.parts(args[0]).items()}
    each = [carrier.parts(value) for value in args[0]]
    found: Parts = {}
    for name in dict.fromkeys(name for parts in each for name in parts):
        wide = torch.float64 if name == THETA else torch.float32
        zeros = [torch.zeros_like(value, dtype=wide) for value in args[0]]
        found[name] = func([parts.get(name, zero) for parts, zero in zip(each, zeros, strict=True)], *args[1:], **given)
    return found


def matrix(multiply: Callable[[Any, Any], Tensor]) -> Handler:
    """A matrix product of two."""

    def handler(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
        return _product(carrier, args[0], args[1], multiply)

    return handler


def plus_matrix(multiply: Callable[[Any, Any], Tensor]) -> Handler:
    """beta * first + alpha * the matrix product of the second and the third."""

    def handler(carrier: Carrier, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Parts:
        beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", 1)
        return _sum((carrier.parts(args[0]), beta), (_product(carrier, args[1], args[2], multiply), alpha))

    return handler


HANDLERS: dict[str, Handler] = {
    "add": add, "sub": sub, "rsub": rsub, "mul": mul, "div": div, "addcmul": addcmul, "addcdiv": addcdiv, "lerp": lerp,
    "where": where, "masked_fill": masked_fill, "copy": copy, "clone": clone, "_to_copy": clone,
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), clamp), "nan_to_num": nan_to_num,
    **dict.fromkeys(
        ("neg", "sum", "mean", "cumsum", "cat", "stack", "index_select", "index", "gather", "flip", "roll", "repeat",
         "constant_pad_nd", "tril", "triu", "trace"),
        structural,
    ),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "matmul"), matrix(torch.matmul)),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), plus_matrix(torch.matmul)),
}  # fmt: skip
"""By the name of the operation, without the underscore of those in place."""
