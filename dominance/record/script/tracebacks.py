"""Leave the recorder's own frames out of the tracebacks of the script that it watches."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

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
    return _relink(kept)


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
