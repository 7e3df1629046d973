"""Forward hooks of the script, which a checkpointed forward calls again in a pass of our own."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

from torch import nn
from torch.nn.modules import module as of_all

from dominance.record.guest.repeatable import Effect, effect

_RETURN_NOTHING = {"append", "extend", "insert", "update", "discard", "clear", "remove"}
"""Methods of Python's containers that no tensor has."""


def forward_hooks(modules: Iterable[nn.Module]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Class of the module, and hook: of the modules and what they are made of, and of all modules."""
    for inner in (inner for module in modules for inner in module.modules()):
        for hook in (*inner._forward_hooks.values(), *inner._forward_pre_hooks.values()):
            yield type(inner).__name__, hook
    for hook in (*of_all._global_forward_hooks.values(), *of_all._global_forward_pre_hooks.values()):
        yield "a module", hook


@contextmanager
def left_out(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, forward hooks that leave a trace and make nothing are not called: they would count or print again."""
    tables: list[dict[Any, Any]] = [of_all._global_forward_hooks, of_all._global_forward_pre_hooks]
    tables += [
        hooks
        for root in modules
        for each in root.modules()
        for hooks in (each._forward_hooks, each._forward_pre_hooks)
        if hooks
    ]
    held = [(hooks, dict(hooks)) for hooks in tables]
    try:
        for hooks, before in held:
            hooks.update({key: _nothing if may_be_left_out(hook) else hook for key, hook in before.items()})
        yield
    finally:
        for hooks, before in held:
            hooks.update(before)


def may_be_left_out(hook: Callable[..., Any]) -> bool:
    """Whether nothing that is computed hangs on a hook: a function of the script that returns nothing."""
    return isinstance(hook, FunctionType) and effect(hook) is not Effect.NONE and returns_nothing(hook)


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass


def returns_nothing(function: FunctionType) -> bool:
    """Whether a function is known to return None, from what it is made of."""
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("CACHE", "NOP", "RESUME")]
    return all(
        _none(steps[:place], step.opname, step.argval)
        for place, step in enumerate(steps)
        if step.opname.startswith("RETURN")
    )


def _none(before: list[dis.Instruction], name: str, value: Any) -> bool:
    if name == "RETURN_CONST":
        return value is None
    if name != "RETURN_VALUE" or not before:
        return False
    last = before[-1]
    if last.opname == "LOAD_CONST":
        return last.argval is None
    # A lambda of one call: of a method that is known to return nothing.
    methods = [step.argval for step in before if step.opname in ("LOAD_METHOD", "LOAD_ATTR")]
    calls = sum(step.opname.startswith("CALL") for step in before)
    return last.opname.startswith("CALL") and (bool(methods) and methods[0] in _RETURN_NOTHING) and calls > 0
