"""An attribute of torch, or of another library, in whose place stands one of ours for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class _Layer(NamedTuple):
    """What was put in the place of something."""

    ours: Any
    below: Any
    inherited: bool
    """Whether the owner had no attribute of its own."""


_over: dict[int, _Layer] = {}
"""By the id of ours: layers that are over while another one still lies on them."""


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], None]:
    """Put what ``make`` makes of an attribute in its place. Returns what puts the attribute back.

    Several may be put on each other and taken away in any order: what is below comes back with the last of them.
    """
    below, inherited = getattr(owner, name), name not in vars(owner)
    layer = _Layer(make(below), below, inherited)
    setattr(owner, name, layer.ours)
    there = [layer]

    def undo() -> None:
        if not there:
            return
        there.clear()
        # Another layer, or somebody else's, lies on it: that stays, and what is left of ours does nothing any more.
        _over[id(layer.ours)] = layer
        while (top := _over.get(id(getattr(owner, name)))) is not None:
            del _over[id(top.ours)]
            if top.inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, top.below)

    return undo
