"""Whether a function of the script may run once more than the script asks: what its code shows of effects outside."""

from __future__ import annotations

import builtins
import dis
import functools
import sys
from collections.abc import Iterator
from enum import IntEnum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch


class Effect(IntEnum):
    """How much a further call may change."""

    NONE = 0
    """Nothing but what it returns."""
    UNKNOWN = 1
    """It writes in place, or calls what cannot be read: what it was given may have changed."""
    SURE = 2
    """It changes something beyond its arguments, or takes something away."""


_SAFE = {
    "abs", "all", "any", "bool", "callable", "dict", "divmod", "enumerate", "float", "frozenset", "getattr", "hasattr",
    "hash", "id", "int", "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min", "range", "repr",
    "reversed", "round", "set", "slice", "sorted", "str", "sum", "super", "tuple", "type", "zip", "filter", "object",
    "property", "NotImplemented", "Ellipsis",
    "print",  # what is printed in a pass of ours is dropped
}  # fmt: skip
_LOUD = {"open", "input", "setattr", "delattr", "exec", "eval", "exit", "quit", "next"}
_MUTATORS = {
    "pop", "popitem", "popleft", "clear", "remove", "discard", "append", "appendleft", "add_hook", "insert",
    "setdefault", "write", "free", "release", "close", "queue_callback", "register_hook", "maybe_clear_saved_tensors",
    "acquire", "notify", "put", "unlink", "save", "backward",
}  # fmt: skip
_WRITES = {"STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL"}
_ITEMS = {"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"}
_IDLE = {"CACHE", "PRECALL", "EXTENDED_ARG", "NOP", "RESUME"}
_DEPTH = 4
_NOTHING: Any = object()


def effect(function: Any) -> Effect:
    """What one more call of ``function`` may change, as far as its code tells; code of torch itself is trusted."""
    return _effect(function, 0)


def trusted(thing: Any) -> bool:
    """Whether it comes with torch: written to be called in backward passes as often as autograd likes."""
    module = getattr(thing, "__module__", None) or ""
    return f"{module}.".startswith("torch.")


def _effect(function: Any, depth: int) -> Effect:
    if isinstance(function, functools.partial):
        return _effect(function.func, depth)
    if isinstance(function, MethodType):
        function = function.__func__
    wrapped = getattr(function, "__wrapped__", None)
    if trusted(function) and wrapped is None:
        return Effect.NONE
    if wrapped is not None and trusted(getattr(function, "__code__", None) and _Origin(function)):
        return _effect(wrapped, depth)  # once_differentiable and the like
    if not isinstance(function, FunctionType) or depth > _DEPTH:
        return Effect.UNKNOWN
    return max(_found(function, depth), default=Effect.NONE)


class _Origin:
    """The module whose code a function really is: ``functools.wraps`` gives it the name of another's."""

    def __init__(self, function: FunctionType) -> None:
        self.__module__ = str(function.__globals__.get("__name__", ""))


def _found(function: FunctionType, depth: int) -> Iterator[Effect]:
    code = function.__code__
    cells = [cell for cell in function.__closure__ or () if filled(cell)]
    free = dict(zip(code.co_freevars, (c.cell_contents for c in cells), strict=False)) if cells else {}
    scope = {**vars(builtins), **function.__globals__, **free}
    yield from _in_code(code, scope, set(code.co_freevars), depth)


def filled(cell: Any) -> bool:
    """Whether the variable of a closure has been given a value."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _in_code(code: CodeType, scope: dict[str, Any], free: set[str], depth: int) -> Iterator[Effect]:
    known: Any = _NOTHING
    outside, items = False, False
    steps = [step for step in dis.get_instructions(code) if step.opname not in _IDLE]
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        name = step.opname
        if following is not None and {name[:9], following.opname[:9]} == {"PUSH_NULL", "LOAD_FAST"}:
            yield Effect.UNKNOWN  # a variable is called
        if name in ("LOAD_GLOBAL", "LOAD_NAME") or (name == "LOAD_DEREF" and step.argval in free):
            known = scope.get(step.argval, _NOTHING)
            outside = outside or isinstance(known, list | dict | set) or known is _NOTHING
            yield _of_object(step.argval, known, depth)
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            owner, known = known, _NOTHING
            if isinstance(owner, ModuleType):
                known = getattr(owner, step.argval, _NOTHING)
                ours = f"{owner.__name__}.".startswith("torch.") and known is not torch.autograd.backward
                yield Effect.NONE if ours else _of_object("", known, depth)
            elif name == "LOAD_METHOD" or (sys.version_info >= (3, 12) and step.arg is not None and step.arg & 1):
                yield _of_method(step.argval)
        elif name in _WRITES or (name in ("STORE_DEREF", "DELETE_DEREF") and step.argval in free):
            yield Effect.SURE
        elif name in _ITEMS:
            items = True
        elif name.startswith("INPLACE_") or (name == "BINARY_OP" and step.argrepr.endswith("=")):
            yield Effect.UNKNOWN
        elif name != "PUSH_NULL":
            known = _NOTHING
    if items:
        yield Effect.SURE if outside else Effect.UNKNOWN
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _in_code(constant, scope, free, depth)


def _of_object(name: str, thing: Any, depth: int) -> Effect:
    """Of an object that the code names: it is read, or called."""
    if (
        name in _LOUD
        or thing is torch.autograd.backward
        or (isinstance(thing, BuiltinFunctionType) and thing.__name__ in _LOUD)
    ):
        return Effect.SURE
    if name in _SAFE or trusted(thing) or isinstance(thing, ModuleType | torch.Tensor) or not callable(thing):
        return Effect.UNKNOWN if thing is _NOTHING else Effect.NONE
    if isinstance(thing, type):
        return Effect.NONE if issubclass(thing, BaseException | torch.autograd.Function) else Effect.UNKNOWN
    return _effect(thing, depth + 1)


def _of_method(name: str) -> Effect:
    if name in _MUTATORS:
        return Effect.SURE
    plain = not name.endswith("_") or name.startswith("__")
    return Effect.NONE if plain and (hasattr(torch.Tensor, name) or name in _READERS) else Effect.UNKNOWN


_READERS = {"get", "items", "keys", "values", "copy", "format", "join", "startswith", "endswith", "index", "count"}
