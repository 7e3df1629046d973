"""What the code of an optimizer's class uses beside the optimizer: a copy of the optimizer shares that with it."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType

from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.record.code_values import values_used


def reaches_outside(optimizer: Optimizer) -> str:
    """What of the script's own its code would change where it is run on a copy: "another SGD", say; "" for nothing.

    A step that is a closure over another optimizer, a model or a parameter, or names a global one, steps the real one,
    whatever it is called on.
    """
    for function in _functions(optimizer):
        for value in values_used(function):
            value = value.__self__ if isinstance(value, MethodType) else value
            if value is not optimizer and isinstance(value, Optimizer | nn.Module):
                return f"another {type(value).__name__}"
            if value is optimizer or (isinstance(value, Tensor) and value.requires_grad):
                return "the optimizer itself" if value is optimizer else "a parameter"
    return ""


def _functions(optimizer: Optimizer) -> Iterator[FunctionType]:
    for kind in type(optimizer).__mro__:
        if kind is Optimizer or kind.__module__.startswith("torch."):
            continue
        for value in vars(kind).values():
            value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if isinstance(value, FunctionType):
                yield value
    yield from (value for value in vars(optimizer).values() if isinstance(value, FunctionType))
