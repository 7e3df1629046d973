"""What draws: matplotlib, or nothing but a record of the calls.

Every backend is a module with the same functions under the same signatures; plots know no other way to draw. Lengths
are in inches from the lower left corner of the figure, sizes of text in points.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from dominance.errors import BadOption

BACKENDS = {"matplotlib": "dominance.plots.backends.matplotlib_", "none": "dominance.plots.backends.none"}


@dataclass(frozen=True)
class Box:
    """A rectangle on a figure, in inches."""

    left: float
    bottom: float
    width: float
    height: float


@dataclass(frozen=True)
class Entry:
    """One entry of a legend: a filled patch, or a line when ``line`` is set."""

    label: str
    colour: str
    hatch: str = ""
    line: bool = False
    dashes: str = "-"
    width: float = 1.0


def get(name: str) -> ModuleType:
    """The backend called ``name``.

    Raises:
        BadOption: there is no such backend.
    """
    if name not in BACKENDS:
        raise BadOption(f"no plot backend {name!r}", fix=f"choose from {', '.join(BACKENDS)}")
    return import_module(BACKENDS[name])


def name_of(backend: ModuleType) -> str:
    """The name under which :func:`get` finds this module."""
    return next(name for name, path in BACKENDS.items() if path == backend.__name__)
