"""An attribute of torch, or of another library, in whose place stands one of ours for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class _Layer:
    """What was put in the place of something."""

    ours: Any
    below: Any
    inherited: bool
    """Whether the owner had no attribute of its own."""
    over: bool = False


_stacks: dict[tuple[int, str], list[_Layer]] = {}
"""Our layers on an attribute, by the id of its owner and its name, those too that are over but lie below another."""


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Put what ``make`` makes of an attribute in its place. Returns what puts the attribute back.

    Several may be put on each other and taken away in any order: what is below comes back with the last of them.
    """
    below, inherited = getattr(owner, name), name not in vars(owner)
    layer = _Layer(make(below), below, inherited)
    setattr(owner, name, layer.ours)
    key = id(owner), name
    _stacks.setdefault(key, []).append(layer)

    def undo() -> None:
        layer.over = True
        stack = _stacks.get(key, [])
        while stack and stack[-1].over:
            top = stack.pop()
            # Patched by someone else since: theirs stays, and what is left of ours below it does nothing any more.
            if getattr(owner, name) is top.ours:
                if top.inherited:
                    delattr(owner, name)
                else:
                    setattr(owner, name, top.below)
        if not stack:
            _stacks.pop(key, None)

    return undo
