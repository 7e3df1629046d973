"""Draws nothing and keeps what it was asked to draw, so that plots are tested without pixels.

A :class:`Drawing` stands for a figure and an :class:`Area` for axes; both list their :class:`Call` in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dominance.errors import BadOption
from dominance.plots.backends import Box, Entry
from dominance.plots.palette import GREY, INK


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


def _keep(target: Any, call: str, /, **arguments: Any) -> None:
    target.calls.append(Call(call, arguments))


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


def line(
    axes: Any,
    x: Any,
    y: Any,
    *,
    colour: str,
    width: float = 1.0,
    alpha: float = 1.0,
    dashes: str = "-",
    marker: bool | str = False,
    label: str = "",
) -> None:
    _keep(axes, "line", x=x, y=y, colour=colour, width=width, alpha=alpha, dashes=dashes, marker=marker, label=label)


def band(
    axes: Any, x: Any, low: Any, high: Any, *, colour: str, alpha: float = 1.0, hatch: str = "", label: str = ""
) -> None:
    _keep(axes, "band", x=x, low=low, high=high, colour=colour, alpha=alpha, hatch=hatch, label=label)


def stacked_area(axes: Any, x: Any, heights: Any, *, colours: Sequence[str]) -> None:
    _keep(axes, "stacked_area", x=x, heights=heights, colours=list(colours))


def bars(axes: Any, shares: Any, *, colours: Sequence[str], hatches: Sequence[str], labels: Sequence[str]) -> None:
    _keep(axes, "bars", shares=shares, colours=list(colours), hatches=list(hatches), labels=list(labels))


def cells(
    axes: Any,
    values: Any,
    *,
    colours: Sequence[str],
    low: float,
    high: float,
    texts: Sequence[Sequence[str]] | None = None,
    marks: Any = None,
    ruled: bool = True,
    size: float = 7.0,
) -> None:
    options = {"colours": list(colours), "low": low, "high": high, "texts": texts, "marks": marks}
    _keep(axes, "cells", values=values, ruled=ruled, size=size, **options)


def image(axes: Any, colours: Any) -> None:
    _keep(axes, "image", colours=colours)


def reference(axes: Any, value: float, *, colour: str, dashes: str = "--", width: float = 0.7, label: str = "") -> None:
    _keep(axes, "reference", value=value, colour=colour, dashes=dashes, width=width, label=label)


def axis(
    axes: Any,
    which: str,
    *,
    limits: tuple[float, float] | None = None,
    ticks: Sequence[float] | NDArray[Any] = (),
    labels: Sequence[str] = (),
    log: bool = False,
    rotation: float = 0.0,
    side: str = "",
    marks: bool = True,
    size: float = 7.0,
) -> None:
    options = {"log": log, "rotation": rotation, "side": side, "marks": marks, "size": size}
    _keep(axes, "axis", which=which, limits=limits, ticks=list(ticks), labels=list(labels), **options)


def axis_label(axes: Any, which: str, label: str) -> None:
    _keep(axes, "axis_label", which=which, label=label)


def title(axes: Any, text: str, *, size: float = 7.5) -> None:
    _keep(axes, "title", text=text, size=size)


def text(
    target: Any,
    x: float,
    y: float,
    string: str,
    *,
    size: float = 7.5,
    colour: str = INK,
    horizontal: str = "left",
    vertical: str = "baseline",
    rotation: float = 0.0,
    bold: bool = False,
    mono: bool = False,
) -> None:
    options = {"size": size, "colour": colour, "rotation": rotation, "bold": bold, "mono": mono}
    _keep(target, "text", x=x, y=y, string=string, horizontal=horizontal, vertical=vertical, **options)


def rule(figure: Any, left: float, right: float, y: float, *, colour: str = GREY, width: float = 0.5) -> None:
    _keep(figure, "rule", left=left, right=right, y=y, colour=colour, width=width)


def legend(target: Any, entries: Sequence[Entry], *, x: float = 0.0, y: float = 0.0, columns: int = 1) -> None:
    _keep(target, "legend", entries=list(entries), x=x, y=y, columns=columns)


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
