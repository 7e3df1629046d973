"""What a function's code works on beside its arguments: the values that it is closed over, names, or is bound to."""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

_DEPTH = 5
_MOST = 100


def values_used(function: FunctionType) -> Iterator[Any]:
    """The values that a function is closed over or names, and those of the functions among them, but for torch's."""
    return (value for _, value in _uses(function, set(), _DEPTH))


def _uses(function: FunctionType, seen: set[int], depth: int) -> Iterator[tuple[FunctionType, Any]]:
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
        yield function, value
        if isinstance(value, FunctionType) and not str(value.__module__).startswith("torch."):
            yield from _uses(value, seen, depth - 1)


def parameters_used(function: Any) -> list[Tensor]:
    """The parameters that a call of ``function`` can reach: of a model that it is bound to, those of the parts that
    its code names."""
    found: dict[Tensor, None] = {}

    def take(value: Any, names: frozenset[str]) -> None:
        if isinstance(value, Tensor):
            found.update({value: None} if value.requires_grad and value.is_leaf else {})
        elif isinstance(value, nn.Module):
            parts = [part for name, part in (*value._modules.items(), *value._parameters.items()) if name in names]
            for part in parts:
                held = part.parameters() if isinstance(part, nn.Module) else () if part is None else (part,)
                found.update(dict.fromkeys(held))
            if not parts:
                found.update(dict.fromkeys(value.parameters()))
        elif isinstance(value, (list, tuple)):
            for each in value[:_MOST]:
                take(each, frozenset())

    if isinstance(function, functools.partial):
        used = parameters_used(function.func)
        for value in (*function.args, *function.keywords.values()):
            take(value, frozenset())
        return list(dict.fromkeys([*used, *found]))
    if isinstance(function, nn.Module):
        take(function, frozenset())
    bound, code = (function.__self__, function.__func__) if isinstance(function, MethodType) else (None, function)
    if isinstance(code, FunctionType):
        for user, value in ((code, bound), *_uses(code, set(), _DEPTH)):
            take(value, frozenset(user.__code__.co_names))
    return [each for each in found if each.requires_grad]
