"""What a function's code works on beside its arguments: the values that it is closed over, names, or is bound to."""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
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
    values += [names[name] for name in _loaded(function.__code__) if name in names]
    for value in values:
        yield function, value
        if isinstance(value, FunctionType) and not str(value.__module__).startswith("torch."):
            yield from _uses(value, seen, depth - 1)


@lru_cache(maxsize=1024)
def _loaded(code: CodeType) -> tuple[str, ...]:
    """The globals that a function names."""
    return tuple(sorted({each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"}))


def _with_methods(kind: type, names: frozenset[str]) -> frozenset[str]:
    """What a function and the methods that it calls name, those of torch's own classes left out."""
    found, waiting = set(names), list(names)
    while waiting:
        method = getattr(kind, waiting.pop(), None)
        if isinstance(method, FunctionType) and not str(method.__module__).startswith("torch."):
            fresh = set(method.__code__.co_names) - found
            found |= fresh
            waiting += fresh
    return frozenset(found)


def parameters_used(function: Any) -> list[Tensor]:
    """The parameters that a call of ``function`` can reach: of a model that it is bound to, those of the parts that
    its code names, and that of the methods it calls."""
    found: dict[Tensor, None] = {}

    def take(value: Any, names: frozenset[str]) -> None:
        if isinstance(value, Tensor):
            found.update({value: None} if value.requires_grad and value.is_leaf else {})
        elif isinstance(value, nn.Module):
            names = _with_methods(type(value), names)
            parts = [part for name, part in (*value._modules.items(), *value._parameters.items()) if name in names]
            for part in parts:
                held = part.parameters() if isinstance(part, nn.Module) else () if part is None else (part,)
                found.update(dict.fromkeys(held))
            if not parts or "getattr" in names:
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
