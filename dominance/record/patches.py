"""An attribute of torch, or of another library, in whose place stands one of ours for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Put what ``make`` makes of an attribute in its place. Returns what puts the attribute back."""
    original, inherited = getattr(owner, name), name not in vars(owner)
    ours = make(original)
    setattr(owner, name, ours)

    def undo() -> None:
        # Patched by someone else since: theirs stays, and what is left of ours below it does nothing any more.
        if getattr(owner, name) is not ours:
            return
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)

    return undo
