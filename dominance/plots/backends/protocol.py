"""What every backend can do. A module with these functions is one; so is an object with these methods.

Lengths are in inches from the lower left corner of the figure, sizes of text in points. Figures and axes are the
backend's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from dominance.plots.palette import GREY, INK


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


class Backend(Protocol):
    """Draws; plots know no other way to."""

    def theme(self) -> AbstractContextManager[None]:
        """The look of every plot, whatever the user's rcParams; they are back when it ends.

        It may stand inside itself, and then does and costs nothing.
        """

    def printable(self, text: str) -> str:
        r"""The text with characters that the font lacks written as ``\uXXXX``: legible, where a box would not be."""

    def text_width(self, text: str, size: float, *, mono: bool = False) -> float:
        """Width of one line of text in inches at a size in points; ``mono``: in the font of code."""

    def figure(self, width: float, height: float) -> Any:
        """An empty figure of a size in inches."""

    def size_of(self, figure: Any) -> tuple[float, float]:
        """Width and height in inches of a figure, or of a part of one."""

    def figure_of(self, axes: Any) -> Any:
        """The figure that holds these axes."""

    def new_axes(self, figure: Any, box: Box) -> Any:
        """Axes at a place on the figure."""

    def line(
        self,
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
        """A line through the points (broken at NaN), or only markers: dots, or a shape of ``palette.MARKS``."""

    def band(
        self,
        axes: Any,
        x: Any,
        low: Any,
        high: Any,
        *,
        colour: str,
        alpha: float = 1.0,
        hatch: str = "",
        label: str = "",
    ) -> None:
        """The area between two lines."""

    def stacked_area(self, axes: Any, x: Any, heights: Any, *, colours: Sequence[str]) -> None:
        """Areas stacked from the bottom; ``heights`` has shape (len(x), areas)."""

    def bars(
        self, axes: Any, shares: Any, *, colours: Sequence[str], hatches: Sequence[str], labels: Sequence[str]
    ) -> None:
        """Horizontal stacked bars, the first row on top; ``shares`` has shape (rows, parts)."""

    def cells(
        self,
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
        """A table of coloured cells, row 0 on top; NaN is hatched. ``marks`` (bool) puts a dot into a cell."""

    def image(self, axes: Any, colours: Any) -> None:
        """Cells in colours of their own, row 0 on top: (row, column, RGBA) from 0 to 1; hatched where A is 0."""

    def reference(
        self, axes: Any, value: float, *, colour: str, dashes: str = "--", width: float = 0.7, label: str = ""
    ) -> None:
        """A horizontal line across the axes."""

    def axis(
        self,
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
        """Limits and ticks of the x or y axis. No ``labels``: ticks without text; no ``marks``: text without ticks."""

    def axis_label(self, axes: Any, which: str, label: str) -> None:
        """The label of the x or y axis."""

    def title(self, axes: Any, text: str, *, size: float = 7.5) -> None:
        """A title over the axes, at their left edge."""

    def text(
        self,
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
        """Text on a figure (x, y in inches) or on axes (x, y as fractions of them); ``mono``: in the font of code."""

    def rule(self, figure: Any, left: float, right: float, y: float, *, colour: str = GREY, width: float = 0.5) -> None:
        """A horizontal line on the figure itself, in inches."""

    def legend(
        self, target: Any, entries: Sequence[Entry], *, x: float = 0.0, y: float = 0.0, columns: int = 1
    ) -> None:
        """A legend with its upper left corner at (x, y) inches on a figure, or right of axes."""

    def save(self, figures: Sequence[Any], path: Path, format: str, **options: Any) -> list[Path]:
        """Write the figures: one PDF with a page each, or one file each (``name-2.png``...). Returns the files."""

    def png(self, figure: Any, *, dpi: int = 144) -> bytes:
        """The figure as PNG bytes, for notebooks."""
