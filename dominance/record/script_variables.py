"""What the variables of a script call its modules and tensors."""

from __future__ import annotations

import dis
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn

from dominance.record.frames import variables_of


def script_variables(frames: Iterable[FrameType]) -> dict[str, nn.Module | Tensor]:
    """The modules and tensors that the script's variables hold, by name: see ``names_of_variables``."""
    return dict(_held(frames))


def names_of_variables(frames: Iterable[FrameType]) -> Mapping[int, str]:
    """What the script's variables call modules and tensors, one level into containers, then into ``self``.

    A variable goes before an attribute: the ``model`` of whoever trains it has a telling name where it was made.
    """
    names: dict[int, str] = {}
    for name, value in _held(frames):
        names.setdefault(id(value), name)
    return names


def _held(frames: Iterable[FrameType]) -> list[tuple[str, nn.Module | Tensor]]:
    found: list[tuple[str, nn.Module | Tensor]] = []
    passing: list[tuple[str, nn.Module | Tensor]] = []
    attributes: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        # type(), because isinstance() asks a lazy proxy for its class, which may wake it up.
        if issubclass(type(value), (nn.Module, Tensor)) and not name.startswith("_"):
            found.append((name, value))

    for frame in frames:
        loops = _loop_variables(frame.f_code)
        for name, value in variables_of(frame).items():
            if name in loops and issubclass(type(value), Tensor):
                # `for p in (w, v)` leaves the last of them behind.
                passing.append((name, value))
                continue
            note(name, value)
            if type(value) in (list, tuple) and len(value) <= 100:
                for position, item in enumerate(value):
                    note(f"{name}.{position}", item)
            elif type(value) is dict and len(value) <= 100 and not name.startswith("__"):
                for key, item in list(value.items()):
                    note(f"{name}.{key}", item)
            elif name == "self":
                attributes |= {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in attributes}
    for name, value in attributes.items():
        note(name, value)
    return found + passing


@lru_cache(maxsize=256)
def _loop_variables(code: CodeType) -> frozenset[str]:
    """The variables that the loops of a function, or of a module, go through things by."""
    names: set[str] = set()
    taken = 0
    for step in dis.get_instructions(code):
        if step.opname == "FOR_ITER":
            taken = 1
        elif taken and step.opname == "UNPACK_SEQUENCE":
            taken += int(step.arg or 0) - 1
        elif taken and step.opname.startswith("STORE_") and isinstance(step.argval, str):
            names.add(step.argval)
            taken -= 1
        elif taken and step.opname == "STORE_FAST_STORE_FAST":
            names.update(step.argval)
            taken -= 2
        elif step.opname != "CACHE":
            taken = 0
    return frozenset(names)
