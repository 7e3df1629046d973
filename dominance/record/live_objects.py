"""What there is of a kind in this process: models, optimizers."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

from dominance.record.frames import variables_of

_LEAVES = (BuiltinFunctionType, CodeType, FunctionType, ModuleType, Tensor, type)
"""What holds no model, or all that was ever imported."""

_LONG = 10_000
"""A container of more items is data."""


def living(is_one: Callable[[type], bool]) -> list[Any]:
    """All objects of a kind that the garbage collector knows: not those that ``gc.freeze()`` has set aside.

    Args:
        is_one: of a type, because isinstance() asks a lazy proxy for its class, which may wake it up.
    """
    return [thing for thing in gc.get_objects() if is_one(type(thing))]


def set_aside(is_one: Callable[[type], bool]) -> list[Any]:
    """Those that variables of the running functions and of their modules lead to, where ``gc.freeze()`` was called.

    A program may call it when its model is made, so that collections need not go through it again and again. The
    collector then lists nothing of what there was, and does not follow it backwards either, but forwards.
    """
    if not gc.get_freeze_count():
        return []
    found, seen, open_ = [], set[int](), list(_variables())
    while open_:
        thing = open_.pop()
        kind = type(thing)
        if id(thing) in seen or issubclass(kind, _LEAVES) or not gc.is_tracked(thing):
            continue
        seen.add(id(thing))
        if is_one(kind):
            found.append(thing)
        if kind not in (list, tuple, dict, set) or len(thing) <= _LONG:
            open_ += gc.get_referents(thing)
    return found


def anywhere(is_one: Callable[[type], bool]) -> Iterator[Any]:
    """All of a kind, each once: those that the collector knows, then those that are set aside."""
    known = living(is_one)
    yield from known
    listed = {id(thing) for thing in known}
    yield from (thing for thing in set_aside(is_one) if id(thing) not in listed)


def _variables() -> Iterator[Any]:
    """Of the functions that run, in all threads, and of the modules that they are in."""
    for top in list(sys._current_frames().values()):
        frame: Any = top
        while frame is not None:
            yield from variables_of(frame).values()
            yield from list(frame.f_globals.values())
            frame = frame.f_back
