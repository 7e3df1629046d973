"""What the code of an optimizer's class uses beside the optimizer: a copy of the optimizer shares that with it."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

_DEPTH = 5


def reaches_outside(optimizer: Optimizer) -> str:
    """What of the script's own its code would change where it is run on a copy: "another SGD", say; "" for nothing.

    A step that is a closure over another optimizer, a model or a parameter, or names a global one, steps the real one,
    whatever it is called on.
    """
    for function in _functions(optimizer):
        for value in _used(function, set(), _DEPTH):
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


def _used(function: FunctionType, seen: set[int], depth: int) -> Iterator[Any]:
    """The values that a function is closed over or names, and those of the functions among them."""
    if id(function) in seen or not depth:
        return
    seen.add(id(function))
    values = []
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # a name that is not bound yet
            continue
    names = function.__globals__
    loaded = {each.argval for each in dis.get_instructions(function) if each.opname == "LOAD_GLOBAL"}
    values += [names[name] for name in sorted(loaded) if name in names]
    for value in values:
        yield value
        if isinstance(value, FunctionType) and not str(value.__module__).startswith("torch."):
            yield from _used(value, seen, depth - 1)
