"""Drawing with matplotlib's object interface: no pyplot, no display, and the user's rcParams as they were.

Text is never read as TeX mathematics, so that names with ``$`` or ``_`` stand as they are. Files are the same to the
byte when the figure is the same: no dates, a fixed salt for identifiers, TrueType fonts embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from dominance.plots.backends import Box, Entry
from dominance.plots.backends.embedded_fonts import without_layout_tables
from dominance.plots.backends.style import FONT, MONO, printable, text_width, theme
from dominance.plots.palette import GREY, INK

__all__ = [
    "axis", "axis_label", "band", "bars", "cells", "figure", "figure_of", "image", "legend", "line", "new_axes", "png",
    "printable", "reference", "rule", "save", "size_of", "stacked_area", "text", "text_width", "theme", "title",
]  # fmt: skip

_MARK_SIZES = {"o": 2.8, "s": 2.6, "^": 3.4, "D": 2.5}
"""Points in diameter that look alike in size."""
NO_DATE = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


def figure(width: float, height: float) -> Figure:
    with theme():
        made = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(made)
    return made


def size_of(figure: Any) -> tuple[float, float]:
    return figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi


def figure_of(axes: Any) -> Any:
    return axes.figure


def new_axes(figure: Any, box: Box) -> Any:
    width, height = size_of(figure)
    with theme():
        made = figure.add_axes((box.left / width, box.bottom / height, box.width / width, box.height / height))
        made.xaxis.set_major_locator(NullLocator())
        made.yaxis.set_major_locator(NullLocator())
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
    shape = marker if isinstance(marker, str) else "o" if marker else ""
    with theme():
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=width,
            alpha=alpha,
            linestyle="none" if marker else dashes,
            marker=shape or "none",
            markersize=_MARK_SIZES[shape or "o"],
            markeredgewidth=0,
            label=label or "_",
            solid_joinstyle="round",
        )


def band(
    axes: Any, x: Any, low: Any, high: Any, *, colour: str, alpha: float = 1.0, hatch: str = "", label: str = ""
) -> None:
    with theme():
        axes.fill_between(
            x,
            low,
            high,
            facecolor="none" if hatch else colour,
            edgecolor=colour if hatch else "none",
            alpha=alpha,
            hatch=hatch or None,
            linewidth=0,
            label=label or "_",
        )


def stacked_area(axes: Any, x: Any, heights: Any, *, colours: Sequence[str]) -> None:
    tops = np.cumsum(np.asarray(heights, dtype=float), axis=1)
    bottoms = np.concatenate([np.zeros((len(tops), 1)), tops[:, :-1]], axis=1)
    there_and_back = np.concatenate([x, np.asarray(x)[::-1]])
    shapes, fills = [], []
    for i, colour in enumerate(colours):
        if (tops[:, i] > bottoms[:, i]).any():
            shapes.append(np.column_stack([there_and_back, np.concatenate([bottoms[:, i], tops[::-1, i]])]))
            fills.append(colour)
    with theme():
        axes.add_collection(PolyCollection(shapes, facecolors=fills, linewidths=0), autolim=False)


def bars(axes: Any, shares: Any, *, colours: Sequence[str], hatches: Sequence[str], labels: Sequence[str]) -> None:
    values = np.nan_to_num(np.asarray(shares, dtype=float))
    rows, left = np.arange(len(values)), np.zeros(len(values))
    with theme():
        for i, (colour, hatch, label) in enumerate(zip(colours, hatches, labels, strict=True)):
            axes.barh(
                rows,
                values[:, i],
                left=left,
                height=0.78,
                color=colour,
                edgecolor="white",
                hatch=hatch or None,
                linewidth=0.3,
                label=label,
            )
            left = left + values[:, i]
        axes.set_ylim(len(values) - 0.5, -0.5)


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
    array = np.ma.masked_invalid(np.asarray(values, dtype=float))
    hidden = np.ma.getmaskarray(array)
    rows, columns = array.shape
    scale = LinearSegmentedColormap.from_list("dominance", list(colours))
    with theme():
        axes.fill_between([0, columns], 0, rows, facecolor="none", edgecolor=GREY, hatch="//////", linewidth=0)
        if ruled:
            axes.pcolormesh(array, cmap=scale, vmin=low, vmax=high, edgecolors="white", linewidth=0.6)
        else:  # an image: between neighbouring polygons viewers show hairlines
            options = {"aspect": "auto", "interpolation": "nearest", "extent": (0, columns, rows, 0), "zorder": 1.5}
            axes.imshow(array, cmap=scale, vmin=low, vmax=high, **options)
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)
        middle = (low + high) / 2
        for i, j in np.ndindex(rows, columns):
            if hidden[i, j]:
                continue
            red, green, blue, _ = scale((array[i, j] - low) / (high - low) if high > low else middle)
            ink = "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else INK
            if texts is not None and texts[i][j]:
                axes.text(j + 0.5, i + 0.52, texts[i][j], color=ink, size=size, ha="center", va="center")
            elif marks is not None and marks[i][j]:
                axes.plot([j + 0.5], [i + 0.5], marker="o", markersize=1.8, markeredgewidth=0, color=ink)


def image(axes: Any, colours: Any) -> None:
    rows, columns = np.shape(colours)[:2]
    with theme():
        axes.fill_between([0, columns], 0, rows, facecolor="none", edgecolor=GREY, hatch="//////", linewidth=0)
        options = {"aspect": "auto", "interpolation": "nearest", "extent": (0, columns, rows, 0), "zorder": 1.5}
        axes.imshow(np.asarray(colours, dtype=float), **options)
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)


def reference(axes: Any, value: float, *, colour: str, dashes: str = "--", width: float = 0.7, label: str = "") -> None:
    with theme():
        axes.axhline(value, color=colour, linestyle=dashes, linewidth=width, label=label or "_")


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
    with theme():
        the = axes.xaxis if which == "x" else axes.yaxis
        if log:
            (axes.set_xscale if which == "x" else axes.set_yscale)("log")
            the.set_minor_locator(NullLocator())
        if limits is not None:
            (axes.set_xlim if which == "x" else axes.set_ylim)(*limits)
        the.set_major_locator(FixedLocator(list(ticks)) if len(ticks) else NullLocator())
        if not len(ticks):
            return
        the.set_major_formatter(FixedFormatter([printable(text) for text in labels]) if labels else NullFormatter())
        if side:
            the.set_ticks_position(side)
            the.set_label_position(side)
        the.set_tick_params(labelsize=size, labelrotation=rotation, **({} if marks else {"length": 0}))
        for text in the.get_ticklabels() if labels else ():
            text.set_parse_math(False)


def axis_label(axes: Any, which: str, label: str) -> None:
    with theme():
        the = axes.xaxis if which == "x" else axes.yaxis
        the.set_label_text(printable(label), fontsize=7.5, parse_math=False)
        the.labelpad = 2.0


def title(axes: Any, text: str, *, size: float = 7.5) -> None:
    with theme():
        axes.set_title(printable(text), fontsize=size, loc="left", pad=2.5, parse_math=False)


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
    options: dict[str, Any] = {"transform": target.transAxes} if not isinstance(target, FigureBase) else {}
    if isinstance(target, FigureBase):
        width, height = size_of(target)
        x, y = x / width, y / height
    with theme():
        target.text(
            x,
            y,
            printable(string),
            fontsize=size,
            color=colour,
            ha=horizontal,
            va=vertical,
            rotation=rotation,
            fontweight="bold" if bold else "normal",
            fontfamily=MONO if mono else FONT,
            linespacing=1.25,
            parse_math=False,
            **options,
        )


def rule(figure: Any, left: float, right: float, y: float, *, colour: str = GREY, width: float = 0.5) -> None:
    across, down = size_of(figure)
    places = {"transform": figure.transSubfigure}
    with theme():
        figure.add_artist(
            Line2D([left / across, right / across], [y / down] * 2, linewidth=width, color=colour, **places)
        )


def legend(target: Any, entries: Sequence[Entry], *, x: float = 0.0, y: float = 0.0, columns: int = 1) -> None:
    with theme():
        handles: list[Any] = []
        for entry in entries:
            if entry.line or entry.marker:
                style: Any = entry.dashes if entry.line else "none"
                looks: dict[str, Any] = {"color": entry.colour, "linestyle": style, "linewidth": entry.width}
                if entry.marker:
                    looks |= {"marker": entry.marker, "markersize": _MARK_SIZES[entry.marker], "markeredgewidth": 0}
                handles.append(Line2D([], [], **looks))
            else:
                edge = GREY if entry.hatch or entry.colour == "white" else "none"
                handles.append(Patch(facecolor=entry.colour, edgecolor=edge, hatch=entry.hatch or None, linewidth=0.3))
        options: dict[str, Any] = {"bbox_to_anchor": (1.03, 1.0)}
        if isinstance(target, FigureBase):
            width, height = size_of(target)
            where: Any = target
            options = {"bbox_to_anchor": (x / width, y / height), "bbox_transform": where.transSubfigure}
        made = target.legend(
            handles,
            [printable(entry.label) for entry in entries],
            loc="upper left",
            ncols=columns,
            frameon=False,
            fontsize=7.0,
            borderaxespad=0.0,
            borderpad=0.0,
            handlelength=1.5,
            handletextpad=0.5,
            columnspacing=1.4,
            labelspacing=0.35,
            **options,
        )
        for item in made.get_texts():
            item.set_parse_math(False)


def save(figures: Sequence[Any], path: Path, format: str, **options: Any) -> list[Path]:
    metadata = {**NO_DATE.get(format, {}), **options.pop("metadata", {})}
    with theme(), without_layout_tables():
        if format == "pdf" and len(figures) > 1:
            with PdfPages(path, metadata=metadata) as pages:
                for figure in figures:
                    pages.savefig(figure, **options)
            return [path]
        written = []
        for number, figure in enumerate(figures, start=1):
            target = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
            figure.savefig(target, format=format, metadata=metadata, **options)
            written.append(target)
    return written


def png(figure: Any, *, dpi: int = 144) -> bytes:
    buffer = BytesIO()
    with theme():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
