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


class Stack(list[str]):
    """A formatted stack as autograd keeps it, with the exact instruction that each frame had come to, and the class of
    the module whose forward it is."""

    places: tuple[tuple[CodeType, int, str | None], ...] = ()


class Positions:
    """While on, nodes made in anomaly mode keep, beside their source lines, the exact place in each line."""

    def __init__(self) -> None:
        self._original: Any = None
        self._ours: Any = None

    def on(self) -> None:
        """From here."""
        if self._original is not None or not hasattr(torch_traceback, "format_stack"):
            return
        original = torch_traceback.format_stack

        def format_stack() -> list[str]:
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

    def off(self) -> None:
        """No longer. What somebody else has put there since stays."""
        if torch_traceback.format_stack is self._ours:
            torch_traceback.format_stack = self._original
        self._original = self._ours = None


def _module_called_by(frame: FrameType | None) -> str | None:
    """The class of the module that a frame of torch calls; None for torch's own, and for any other frame."""
    if frame is None or frame.f_code is not _CALL:
        return None
    kind = type(variables_of(frame)["self"])
    return None if kind.__module__.partition(".")[0] == "torch" else kind.__name__
