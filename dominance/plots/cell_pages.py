"""Pages of cells, bars or points with a name for each row: how large a cell is, and where pages break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dominance.plots.backends import Backend, Box
from dominance.plots.labels import fit
from dominance.plots.sheets import EDGE, ONE_COLUMN, PAGE, SMALL, TICKS, TWO_COLUMNS, Around, frame, overhead

UPRIGHT = 1.5  # inches for upright column names


@dataclass
class Heat:
    """A page of coloured cells: its axes, the axes of its colour bar, and which rows and columns it shows."""

    figure: Any
    axes: Any
    bar: Any
    rows: range
    columns: range
    row_names: list[str]
    column_names: list[str]
    cell: tuple[float, float]
    upright: bool


def heat(
    b: Backend,
    rows: Sequence[str],
    columns: Sequence[str],
    around: Around,
    *,
    cell_height: tuple[float, float] = (0.118, 0.2),
    cell_width: tuple[float, float] = (0.125, 0.6),
    body: float | None = None,
    bar_space: float = 0.42,
) -> list[Heat]:
    """Pages for cells (row, column) with names on both sides and a colour bar above.

    ``body`` says about how wide the cells together are (columns without names); otherwise column names stand upright
    where the cells are too narrow for them. What needs more than one column of a paper fills two. ``bar_space`` 0: no
    colour bar.
    """
    widest = max(b.text_width(text, SMALL) for text in rows)
    left = EDGE + min(1.9, widest) + 0.1
    if body is None:
        room = TWO_COLUMNS - left - 0.15
        per_row = max(1, int(room / cell_width[0]))
        column_pages = -(-len(columns) // per_row)
        across = -(-len(columns) // column_pages)
        need = max(b.text_width(text, SMALL) for text in columns)
        wide = min(max(cell_width[1], need + 0.1), room / across)
        upright = need > wide - 0.05
        header = (min(UPRIGHT, need) if upright else 0.0) + 0.19 - (0.06 if upright else 0.0)
        named = fit(columns, UPRIGHT if upright else wide, b, SMALL)
    else:
        column_pages, across, wide, upright, header, named = 1, len(columns), body / len(columns), False, 0.03, []
    width, one = ONE_COLUMN, ONE_COLUMN - left - 0.15
    if body is not None and one >= 0.7 * body:
        wide = one / across
    elif across * wide > one:
        width, wide = TWO_COLUMNS, (TWO_COLUMNS - left - 0.15) / across
    room = PAGE - overhead(b, width, around) - header - bar_space - TICKS
    per_page = max(1, int(room / cell_height[0]))
    row_pages = -(-len(rows) // per_page)
    per_page = -(-len(rows) // row_pages)
    high = min(cell_height[1], room / per_page)
    short = fit(rows, 1.9, b, SMALL)
    out = []
    pages = row_pages * column_pages
    for page in range(pages):
        first_row, first_column = page // column_pages * per_page, page % column_pages * across
        inside = range(first_row, min(len(rows), first_row + per_page))
        beside = range(first_column, min(len(columns), first_column + across))
        ticks = (TICKS + 0.03 * bool(around.x_label)) if body is not None else 0.02
        total = bar_space + header + len(inside) * high + ticks
        figure, start = frame(b, width, total, around, f"Page {page + 1} of {pages}." if pages > 1 else "")
        place = Box(left, start - bar_space - header - len(inside) * high, len(beside) * wide, len(inside) * high)
        bar = b.new_axes(figure, Box(max(left, 0.5), start - 0.12, 2.0, 0.09)) if bar_space else None
        names = [named[i] for i in beside] if named else []
        cells = b.new_axes(figure, place)
        out.append(Heat(figure, cells, bar, inside, beside, [short[i] for i in inside], names, (wide, high), upright))
    return out


def colour_bar(
    b: Backend, axes: Any, colours: Sequence[str], low: float, high: float, ticks: Sequence[tuple[float, str]]
) -> None:
    """Fill the axes of a colour bar; ``ticks`` are (value, words)."""
    steps = 60
    b.cells(axes, np.linspace(low, high, steps)[None], colours=colours, low=low, high=high, ruled=False)
    places = [(value - low) / (high - low) * steps for value, _ in ticks]
    b.axis(axes, "x", limits=(0, steps), ticks=places, labels=[words for _, words in ticks])
    b.axis(axes, "y", limits=(1, 0))


def names_on_sides(b: Backend, page: Heat) -> None:
    """Row names at the left, column names above, of a page of cells."""
    rows, columns = np.arange(len(page.row_names)) + 0.5, np.arange(len(page.column_names)) + 0.5
    b.axis(page.axes, "y", limits=(len(rows), 0), ticks=rows, labels=page.row_names, marks=False)
    if page.column_names:
        turn = 90.0 if page.upright else 0.0
        b.axis(page.axes, "x", ticks=columns, labels=page.column_names, rotation=turn, side="top", marks=False)


def names_down(b: Backend, axes: Any, names: Sequence[str]) -> None:
    """Row names at the left of bars or points, the first on top."""
    b.axis(axes, "y", limits=(len(names) - 0.5, -0.5), ticks=range(len(names)), labels=names, marks=False)
