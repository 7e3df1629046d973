"""A table of coloured cells with numbers in them, where these have room: pairs of tasks, or layers by pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.plots import cell_pages, inputs, sheets
from dominance.plots.backends import Backend
from dominance.plots.palette import SEQUENTIAL
from dominance.plots.result import Plot

MOST_WIDE = 12
"""With more columns than this there is no room for numbers."""


def cell_table(
    b: Backend,
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    ax: Any,
    data: xr.Dataset,
    note: str,
    colours: Sequence[str],
    ends: Sequence[tuple[float, str]],
    number: Callable[[float], str],
    marks: Any = None,
    **options: Any,
) -> Plot:
    """On pages with a colour bar, or in the axes that were given.

    Args:
        values: (row, column).
        data, note: of the plot.
        ends: what stands at the colour bar, from its lower end to its upper one.
        number: a value in words.
        marks: (row, column) bool, cells with a dot.
        options: of ``cell_pages.heat``.
    """
    low, high = ends[0][0], ends[-1][0]
    look: dict[str, Any] = {"colours": colours, "low": low, "high": high}
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        b.cells(axes, values, **look, marks=marks)
        b.axis(axes, "x", ticks=np.arange(len(columns)) + 0.5, labels=columns, rotation=90, marks=False)
        b.axis(axes, "y", ticks=np.arange(len(rows)) + 0.5, labels=rows, marks=False)
        return Plot.on(axes, data, note, b)
    pages = cell_pages.heat(b, rows, columns, sheets.Around((), note), **options)
    for page in pages:
        at = np.s_[page.rows.start : page.rows.stop, page.columns.start : page.columns.stop]
        texts = [[number(v) if np.isfinite(v) else "" for v in row] for row in values[at]]
        shown = texts if len(columns) <= MOST_WIDE else None
        b.cells(page.axes, values[at], **look, texts=shown, marks=None if marks is None else marks[at])
        cell_pages.names_on_sides(b, page)
        cell_pages.colour_bar(b, page.bar, colours, low, high, ends)
    return Plot.of_pages(pages, data, note, b)


def percent_table(
    b: Backend, percent: Any, rows: Sequence[str], columns: Sequence[str], *, ax: Any, data: xr.Dataset, note: str
) -> Plot:
    """(row, column) from 0 to 100, with the numbers where a cell has room for them."""
    texts = [[f"{value:.0f}" if np.isfinite(value) else "" for value in row] for row in percent]
    look: dict[str, Any] = {"colours": SEQUENTIAL, "low": 0, "high": 100}
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        b.cells(axes, percent, texts=texts, **look)
        b.axis(axes, "x", ticks=np.arange(len(columns)) + 0.5, labels=columns, marks=False)
        b.axis(axes, "y", ticks=np.arange(len(rows)) + 0.5, labels=rows, marks=False)
        return Plot.on(axes, data, note, b)
    pages = cell_pages.heat(b, rows, columns, sheets.Around((), note))
    for page in pages:
        part = percent[page.rows.start : page.rows.stop, page.columns.start : page.columns.stop]
        said = [row[page.columns.start : page.columns.stop] for row in texts[page.rows.start : page.rows.stop]]
        b.cells(page.axes, part, texts=said if page.cell[0] > 0.24 else None, **look)
        cell_pages.names_on_sides(b, page)
        cell_pages.colour_bar(b, page.bar, SEQUENTIAL, 0, 100, [(0, "0 %"), (50, "50 %"), (100, "100 %")])
    return Plot.of_pages(pages, data, note, b)
