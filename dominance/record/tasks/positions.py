"""Where the frames are that a node of autograd is made under, kept while the forward runs."""

from __future__ import annotations

import sys
from types import CodeType, FrameType
from typing import Any

import torch
import torch.fx.traceback as torch_traceback

from dominance.record.frames import variables_of

_CALL = torch.nn.Module._call_impl.__code__
MODULES = _CALL.co_filename
"""The file of torch whose frames hand a call on to a module's forward."""
_HERE = f'File "{__file__}"'
"""In the line of a frame of ours."""


class Stack(list[str]):
    """A formatted stack as autograd keeps it, with the exact instruction that each frame had come to, and the class of
    the module whose forward it is."""

    places: tuple[tuple[CodeType, int, str | None], ...] = ()


class Positions:
    """While on, nodes made in anomaly mode keep, beside their source lines, the exact place in each line."""

    def __init__(self) -> None:
        self._on = False

    def on(self) -> None:
        """From here."""
        if not self._on:
            self._on = True
            _STACKS.want()

    def off(self) -> None:
        """No longer, unless another one is on."""
        if self._on:
            self._on = False
            _STACKS.want_no_more()


class _Stacks:
    """Torch's function that formats stacks, and ours in its place for whoever wants positions. One for the process:
    several that are on, and go off in any order, leave torch's own."""

    def __init__(self) -> None:
        self._wanting = 0
        self._original: Any = None
        self._ours: Any = None

    def want(self) -> None:
        self._wanting += 1
        if self._ours is None and hasattr(torch_traceback, "format_stack"):
            self._put(torch_traceback.format_stack)

    def want_no_more(self) -> None:
        """What somebody else has put there since stays, and ours below it does what the original does."""
        self._wanting -= 1
        if self._wanting == 0:
            if self._ours is not None and torch_traceback.format_stack is self._ours:
                torch_traceback.format_stack = self._original
            self._original = self._ours = None

    def _put(self, original: Any) -> None:
        def format_stack() -> list[str]:
            if self._ours is not format_stack:
                lines: list[str] = original()
                return lines[:-1] if lines and _HERE in lines[-1] else lines
            stack = Stack(original())
            frame: FrameType | None = sys._getframe(1)
            places: list[tuple[CodeType, int, str | None]] = []
            while frame is not None:
                places.append((frame.f_code, frame.f_lasti, _module_called_by(frame.f_back)))
                frame = frame.f_back
            stack.places = tuple(reversed(places))
            return stack

        self._original, self._ours = original, format_stack
        torch_traceback.format_stack = format_stack


_STACKS = _Stacks()


def _module_called_by(frame: FrameType | None) -> str | None:
    """The class of the module that a frame of torch calls; None for torch's own, and for any other frame."""
    if frame is None or frame.f_code is not _CALL:
        return None
    kind = type(variables_of(frame)["self"])
    return None if kind.__module__.partition(".")[0] == "torch" else kind.__name__
