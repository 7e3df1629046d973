"""The variables of a frame of the script, looked at without keeping any of them alive."""

from __future__ import annotations

import sys
from inspect import CO_OPTIMIZED
from types import FrameType
from typing import Any

# References to a frame's copy of its variables when nobody else looks at it: the frame's, ours, and the counter's own.
_OURS = 3


def variables_of(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame now, leaving nothing behind in the frame."""
    held = frame.f_locals
    variables = dict(held)
    if _is_a_copy(frame) and sys.getrefcount(held) <= _OURS:
        held.clear()
    return variables


def variable_of(frame: FrameType, name: str) -> Any:
    """One of them; None where there is none of this name."""
    held = frame.f_locals
    value = held.get(name)
    if _is_a_copy(frame) and sys.getrefcount(held) <= _OURS:
        held.clear()
    return value


def _is_a_copy(frame: FrameType) -> bool:
    """Whether the variables that it shows are a copy, which it keeps.

    Before 3.13 a function's f_locals is: it would hold the script's tensors alive after the script has dropped them. A
    script that keeps the result of locals() holds the same dict.
    """
    return bool(frame.f_code.co_flags & CO_OPTIMIZED) and sys.version_info < (3, 13)
