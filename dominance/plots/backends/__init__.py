"""What draws: matplotlib, matplotlib in seaborn's look, or nothing but a record of the calls.

Every backend is a module with the same functions under the same signatures; plots know no other way to draw. Lengths
are in inches from the lower left corner of the figure, sizes of text in points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from dominance.errors import BadOption

BACKENDS = {
    "matplotlib": "dominance.plots.backends.matplotlib_",
    "seaborn": "dominance.plots.backends.seaborn_",
    "none": "dominance.plots.backends.none",
}


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Box:
    """A rectangle on a figure, in inches."""

    left: float
    bottom: float
    width: float
    height: float


@dataclass(frozen=True)
class Entry:
    """One entry of a legend: a filled patch, or a line when ``line`` is set, or a point of the shape ``marker``."""

    label: str
    colour: str
    hatch: str = ""
    line: bool = False
    dashes: str = "-"
    width: float = 1.0
    marker: str = ""
    """Shape of a point, one of ``palette.MARKS``; with ``line`` it stands on the line."""


def get(backend: str | Any) -> Any:
    """The backend of this name; an object that has the functions of one is returned as it is.

    Raises:
        BadOption: there is no such backend.
    """
    if not isinstance(backend, str):
        return backend
    if backend not in BACKENDS:
        raise BadOption(f"no plot backend {backend!r}", fix=f"choose from {', '.join(BACKENDS)}")
    return import_module(BACKENDS[backend])


def themed(plot: Callable[P, R]) -> Callable[P, R]:
    """Run a plot function inside the theme of its backend: set once, not with every line that is drawn."""

    @wraps(plot)
    def inside(*args: P.args, **options: P.kwargs) -> R:
        with get(options.get("backend", "matplotlib")).theme():
            return plot(*args, **options)

    return inside
