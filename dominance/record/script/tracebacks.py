"""Leave the recorder's own frames out of the tracebacks of the script that it watches."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import cache
from types import CodeType, FrameType, TracebackType
from typing import Any

_PASSING = tuple(
    f"dominance.record.{name}"
    for name in (
        "script.running",
        "script.import_hook",
        "script.logged",
        "guest.hooks",
        "guest.silence",
        "guest.without_grad",
        "tasks.source_lines",
    )
)
"""Modules that stand between the script and the code that it called; they raise nothing themselves."""


def _name(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get("__name__", ""))


def _ours(name: str) -> bool:
    return f"{name}.".startswith(("dominance.record.", "dominance_cli."))


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _relink(entries: list[TracebackType]) -> TracebackType | None:
    following: TracebackType | None = None
    for entry in reversed(entries):
        entry.tb_next = following
        following = entry
    return following


def _peeled(traceback: TracebackType | None) -> TracebackType | None:
    entries = list(_entries(traceback))
    if not entries:
        return None
    last = _name(entries[-1])
    fault = _ours(last) and last not in _PASSING  # then it is an error of the recorder, and its frames are the message
    kept: list[TracebackType] = []
    for entry in entries:
        name = _name(entry)
        if name == "dominance.record.script.import_hook":
            # The interpreter hides the frames of an import that failed, but not across a frame in their midst.
            while kept and kept[-1].tb_frame.f_code.co_filename.startswith("<frozen importlib._bootstrap"):
                kept.pop()
        elif not _ours(name) or (fault and name not in _PASSING and not name.startswith("dominance_cli")):
            kept.append(entry)
    return _relink(_unhooked(kept))


# A module that has hooks, or any where all modules have some, is called in another way by torch: by one frame more.

_MODULES = "torch.nn.modules.module"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _unhooked(entries: list[TracebackType]) -> list[TracebackType]:
    """The same with calls of modules that had no hooks but ours as torch makes them where there are none."""
    made: list[TracebackType] = []
    for entry in entries:
        plain = _plain_call(made[-1].tb_frame.f_code) if made and _is_hooked_call(made[-1], entry) else None
        if plain is None:
            made.append(entry)
        else:
            made[-1] = TracebackType(None, made[-1].tb_frame, *plain)
    return made


def _is_hooked_call(before: TracebackType, entry: TracebackType) -> bool:
    """Whether these are of a call of a module on which the script has hung no hooks."""
    if _name(entry) != _MODULES or entry.tb_frame.f_code.co_name != "inner":
        return False
    return before.tb_frame.f_code.co_name == "_call_impl" and not _has_hooks(entry.tb_frame)


def _has_hooks(call: FrameType) -> bool:
    """Whether the script has hung hooks on the module that is called, or on all."""
    module: Any = call.f_locals.get("self")
    of_all = [key for name in _HOOKS for key in call.f_globals.get(f"_global{name}", ())]
    return any(getattr(module, name, True) for name in _HOOKS) or any(type(key) is int for key in of_all)


@cache
def _plain_call(code: CodeType) -> tuple[int, int] | None:
    """Instruction and line of the first call of the module's forward in this function."""
    found = False
    for step in dis.get_instructions(code):
        found = found or (step.argval == "forward_call" and step.opname.startswith("LOAD"))
        if found and step.opname.startswith("CALL") and step.positions is not None and step.positions.lineno:
            return step.offset, step.positions.lineno
    return None


def peel(error: BaseException) -> None:
    """Take the frames of the recorder out of ``error.__traceback__``, in place.

    Goes through ``__cause__``, ``__context__`` and the members of exception groups. An exception that the recorder
    itself raised keeps its frames: they say where to look.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = _peeled(current.__traceback__)
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
