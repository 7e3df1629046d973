"""Draws nothing and keeps what it was asked to draw, so that plots are tested without pixels.

A :class:`Drawing` stands for a figure and an :class:`Area` for axes; both list their :class:`Call` in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from dominance.errors import BadOption
from dominance.plots.backends.protocol import Backend, Box


@dataclass
class Call:
    """One thing that was to be drawn: the function's name and its arguments by name."""

    name: str
    arguments: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]


@dataclass
class Area:
    """Axes that only remember."""

    figure: Drawing
    box: Box
    calls: list[Call] = field(default_factory=list)

    def called(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]


@dataclass
class Drawing:
    """A figure that only remembers."""

    width: float
    height: float
    axes: list[Area] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def called(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]


def theme() -> AbstractContextManager[None]:
    """There is nothing to set."""
    return nullcontext()


def printable(text: str) -> str:
    """The text itself: every character can be remembered."""
    return text


def text_width(text: str, size: float, *, mono: bool = False) -> float:
    """0.6 of the size a character: a little more than DejaVu Sans takes on average."""
    return 0.6 * size * len(text) / 72


def figure(width: float, height: float) -> Drawing:
    return Drawing(width, height)


def size_of(figure: Any) -> tuple[float, float]:
    return figure.width, figure.height


def figure_of(axes: Any) -> Any:
    return axes.figure


def new_axes(figure: Any, box: Box) -> Any:
    made = Area(figure, box)
    figure.axes.append(made)
    return made


def _kept(name: str) -> Callable[..., None]:
    """The function of this name, which notes in the figure or axes that it is given what it was called with."""
    declared = signature(getattr(Backend, name))
    declared = declared.replace(parameters=list(declared.parameters.values())[1:])

    def keep(*given: Any, **named: Any) -> None:
        bound = declared.bind(*given, **named)
        bound.apply_defaults()
        target, *rest = bound.arguments.items()
        listed = {key: list(value) if key in _LISTS and name != "image" else value for key, value in rest}
        target[1].calls.append(Call(name, listed))

    keep.__name__ = keep.__qualname__ = name
    vars(keep)["__signature__"] = declared
    return keep


_LISTS = ("colours", "hatches", "labels", "ticks", "entries")
"""Arguments that are kept as lists, as they were at the call."""

line, band, stacked_area, bars = _kept("line"), _kept("band"), _kept("stacked_area"), _kept("bars")
cells, image, reference, rule = _kept("cells"), _kept("image"), _kept("reference"), _kept("rule")
axis, axis_label, title, text = _kept("axis"), _kept("axis_label"), _kept("title"), _kept("text")
legend = _kept("legend")


def save(figures: Sequence[Any], path: Path, format: str, **options: Any) -> list[Path]:
    """Nothing was drawn.

    Raises:
        BadOption: always.
    """
    raise BadOption(f"{path}: backend 'none' draws nothing to save", fix="plot with backend='matplotlib'")


def png(figure: Any, *, dpi: int = 144) -> bytes:
    """Nothing was drawn.

    Raises:
        BadOption: always.
    """
    raise BadOption("backend 'none' draws nothing to show", fix="plot with backend='matplotlib'")
