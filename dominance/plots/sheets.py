"""Where things stand on a figure: panels in rows and columns, the legend above, the note below, over pages.

Every place is worked out in inches from the measured width of the words, so that nothing overlaps at print size: one
column (3.5 in) for a single panel, two columns (7.2 in) for more, 7 and 7.5 point type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dominance.plots.backends import Backend, Box, Entry
from dominance.plots.inputs import given_axes
from dominance.plots.labels import fit, wrap
from dominance.plots.palette import INK

ONE_COLUMN, TWO_COLUMNS, PAGE = 3.5, 7.2, 9.0
SMALL, NORMAL = 7.0, 7.5
LINE = 0.135  # inches that a line of 7 point type takes
EDGE = 0.06
_TITLE = 0.17
TICKS = 0.15
_NAME = 0.13
_HANDLE = 0.38  # the sign of a legend entry, and the space after it


@dataclass(frozen=True)
class Around:
    """What stands around the panels."""

    legend: Sequence[Entry] = ()
    note: str = ""
    x_label: str = ""
    y_label: str = ""
    left: float = 0.36
    """Room for the tick labels of the y axis."""


@dataclass
class Sheet:
    """The figures of a plot, its axes, and what stands at the edge: panels that are last in their column, first or
    last in their row (bool arrays of the shape of ``axes``)."""

    figures: list[Any]
    axes: np.ndarray
    bottom: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def empty(cls, *shape: int) -> Sheet:
        edges = [np.zeros(shape, dtype=bool) for _ in range(3)]
        return cls([], np.empty(shape, dtype=object), *edges)


def columns_for(count: int, most: int = 5) -> int:
    """Columns for so many panels: one row while they fit, then rows as even as can be."""
    return -(-count // -(-count // most))


def panel_width(count: int, most: int = 5) -> float:
    """About the width in inches that :func:`grid` gives each of so many panels."""
    return 2.9 if count == 1 else 6.4 / columns_for(count, most) - 0.2


def legend_rows(b: Backend, entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """The entries in rows of at most ``width`` inches; a label wider than that is shortened."""
    if not entries:
        return []
    labels = fit([entry.label for entry in entries], width - 0.3, b, SMALL)
    rows: list[list[Entry]] = [[]]
    used = 0.0
    for entry, label in zip(entries, labels, strict=True):
        need = b.text_width(label, SMALL) + _HANDLE
        if rows[-1] and used + need > width:
            rows.append([])
            used = 0.0
        rows[-1].append(replace(entry, label=label))
        used += need
    return rows


def frame(b: Backend, width: float, body: float, around: Around, page: str) -> tuple[Any, float]:
    """A figure with legend, note and x label; returns it with the height at which the body's upper edge lies."""
    note = wrap(" ".join(part for part in (around.note, page) if part), width - 2 * EDGE, b, SMALL)
    note = [line for line in note if line]
    rows = legend_rows(b, around.legend, width - 2 * EDGE)
    legend = len(rows) * LINE + 0.05 if rows else 0.0
    below = len(note) * LINE + (0.08 if note else 0.02)
    name = _NAME if around.x_label else 0.0
    height = EDGE + legend + body + name + below
    figure = b.figure(width, height)
    for number, row in enumerate(rows):
        b.legend(figure, row, x=EDGE, y=height - EDGE - number * LINE, columns=len(row))
    if note:
        b.text(figure, EDGE, below - 0.06, "\n".join(note), size=SMALL, vertical="top", colour=INK)
    if around.x_label:
        b.text(figure, width / 2, below + 0.04, around.x_label, size=NORMAL, horizontal="center")
    return figure, below + name + body


def overhead(b: Backend, width: float, around: Around) -> float:
    lines = len(wrap(f"{around.note} Page 10 of 10.", width - 2 * EDGE, b, SMALL))
    legend = len(legend_rows(b, around.legend, width - 2 * EDGE)) * LINE + 0.05
    return EDGE + legend + lines * LINE + 0.08 + _NAME


def grid(
    b: Backend,
    titles: Sequence[str],
    around: Around,
    *,
    height: float = 0.95,
    most: int = 5,
    own_y: float = 0.0,
    subtitles: Sequence[str] = (),
    single_height: float = 1.55,
    under: float = 0.0,
) -> Sheet:
    """One panel for each title, wrapped into rows.

    Args:
        own_y: inches for tick labels left of every panel; 0: the panels share their y axis.
        subtitles: a second, unshortened line after each title ("" for none).
        single_height: height of the panel when it is alone.
        under: inches below the last row for upright tick labels.
    """
    count = len(titles)
    columns = columns_for(count, most)
    width = ONE_COLUMN if count == 1 else TWO_COLUMNS
    height = single_height if count == 1 else height
    naming = 0.16 * len(around.y_label.split("\n")) if around.y_label else 0.0
    left, right = EDGE + naming + max(around.left, own_y), 0.12
    gap = own_y or 0.2
    panel = (width - left - right - gap * (columns - 1)) / columns
    has_second = any(subtitles)
    top = (_TITLE if any(titles) else 0.04) + (LINE if has_second else 0.0)
    row_height = top + height + 0.05
    rows = -(-count // columns)
    per_page = max(1, int((PAGE - overhead(b, width, around) - TICKS - under) / row_height))
    pages = -(-rows // per_page)
    per_page = -(-rows // pages)
    named = fit(titles, panel + (0.0 if own_y else 0.08), b, NORMAL)
    sheet = Sheet.empty(count)
    for page in range(pages):
        inside = range(page * per_page * columns, min(count, (page + 1) * per_page * columns))
        here = -(-len(inside) // columns)
        body = here * row_height + TICKS + under
        figure, start = frame(b, width, body, around, f"Page {page + 1} of {pages}." if pages > 1 else "")
        sheet.figures.append(figure)
        for number in inside:
            row, column = divmod(number - inside[0], columns)
            bottom = start - (row + 1) * row_height + 0.05
            sheet.axes[number] = b.new_axes(figure, Box(left + column * (panel + gap), bottom, panel, height))
            sheet.bottom[number] = number + columns > inside[-1]
            sheet.first[number] = column == 0
            sheet.last[number] = column == columns - 1 or number == inside[-1]
            if titles[number]:
                x, y = left + column * (panel + gap), bottom + height + 0.045
                second = subtitles[number] if has_second else ""
                if second:
                    b.text(figure, x, y, second, size=SMALL, colour=INK)
                b.text(figure, x, y + (LINE if second else 0.0), named[number], size=NORMAL)
        if around.y_label:
            middle = start - body / 2 + TICKS / 2 - top / 2 + under / 2
            _upright(b, figure, around.y_label, middle, body - under)
    return sheet


def panels(
    b: Backend, titles: Sequence[str], around: Around, ax: Any, *, legend: bool = False, **options: Any
) -> Sheet:
    """:func:`grid`; or the user's axes, a panel each, with the titles and the labels of both axes.

    Args:
        legend: draw it on the last of the user's axes, too.
        options: of ``grid``.

    Raises:
        BadOption: there are more or fewer axes than panels.
    """
    if ax is None:
        return grid(b, titles, around, **options)
    count, subtitles = len(titles), options.get("subtitles") or [""] * len(titles)
    axes = given_axes(ax, count)
    for target, title, subtitle in zip(axes, titles, subtitles, strict=True):
        if title:
            b.title(target, f"{title}, {subtitle}" if subtitle else title)
        for side, label in (("x", around.x_label), ("y", around.y_label)):
            if label:
                b.axis_label(target, side, label)
    if legend:
        b.legend(axes[-1], around.legend)
    return Sheet([b.figure_of(axes[0])], axes, *np.ones((3, count), dtype=bool))


def table(
    b: Backend,
    rows: Sequence[str],
    columns: Sequence[str],
    around: Around,
    *,
    row_notes: Sequence[str] = (),
    heights: tuple[float, float] = (0.34, 0.62),
    most_columns: int = 10,
) -> Sheet:
    """A table of panels: one for each row name and column name; pages break between rows, and between columns."""
    width = TWO_COLUMNS
    widest = max(b.text_width(text, SMALL) for text in [*rows, *row_notes])
    naming = 0.16 * len(around.y_label.split("\n")) if around.y_label else 0.0
    left = EDGE + naming + min(1.7, widest) + 0.08
    named_rows = fit(rows, 1.7, b, SMALL)
    across = columns_for(len(columns), most_columns)
    gap, right, header = 0.05, 0.36, 0.19
    panel = (width - left - right - gap * (across - 1)) / across
    named_columns = fit(columns, panel, b, NORMAL)
    room = PAGE - overhead(b, width, around) - header - TICKS
    per_page = max(1, int(room / (heights[0] + 0.06)))
    row_pages = -(-len(rows) // per_page)
    per_page = -(-len(rows) // row_pages)
    height = min(heights[1], room / per_page - 0.06)
    column_pages = -(-len(columns) // across)
    pages = row_pages * column_pages
    sheet = Sheet.empty(len(rows), len(columns))
    for page in range(pages):
        first_row, first_column = page // column_pages * per_page, page % column_pages * across
        inside = range(first_row, min(len(rows), first_row + per_page))
        beside = range(first_column, min(len(columns), first_column + across))
        body = header + len(inside) * (height + 0.06) + TICKS
        figure, start = frame(b, width, body, around, f"Page {page + 1} of {pages}." if pages > 1 else "")
        sheet.figures.append(figure)
        if around.y_label:
            _upright(b, figure, around.y_label, start - header - (body - header - TICKS) / 2, body)
        for i in inside:
            bottom = start - header - (i - first_row + 1) * (height + 0.06) + 0.06
            label = named_rows[i] + (f"\n{row_notes[i]}" if row_notes and row_notes[i] else "")
            middle = bottom + height / 2
            b.text(figure, left - 0.06, middle, label, size=SMALL, horizontal="right", vertical="center")
            for j in beside:
                x = left + (j - first_column) * (panel + gap)
                sheet.axes[i, j] = b.new_axes(figure, Box(x, bottom, panel, height))
                sheet.bottom[i, j] = i == inside[-1]
                sheet.first[i, j] = j == first_column
                sheet.last[i, j] = j == beside[-1]
                if i == first_row:
                    b.text(figure, x, start - header + 0.045, named_columns[j], size=NORMAL)
    return sheet


def _upright(b: Backend, figure: Any, words: str, middle: float, room: float) -> None:
    """The name of the y axes at the left edge."""
    label = "\n".join(fit(words.split("\n"), room - 0.1, b, NORMAL))
    b.text(figure, EDGE - 0.02, middle, label, size=NORMAL, rotation=90, horizontal="left", vertical="center")
