"""Finds words that run into one another, or off the page."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.text import Text


def boxes(figure: Any) -> list[tuple[str, Any]]:
    """(words, extent in pixels) of every text that is seen, line by line."""
    figure.draw_without_rendering()
    renderer = figure._get_renderer()
    found = []
    for text in figure.findobj(lambda artist: isinstance(artist, Text)):
        if not text.get_text().strip() or not text.get_visible():
            continue
        axis = getattr(text.axes, "xaxis", None)
        if axis is not None and text in _hidden(text.axes):
            continue
        found.append((text.get_text(), text.get_window_extent(renderer)))
    return found


def _hidden(axes: Any) -> set[Any]:
    """Texts of ticks on the side where they are not drawn."""
    out = set()
    for axis in (axes.xaxis, axes.yaxis):
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            out |= {label for label in (tick.label1, tick.label2) if not label.get_visible()}
    return out


def problems(figure: Any, slack: float = 1.0) -> list[str]:
    """What overlaps by more than ``slack`` pixels of 1/100 inch, or is cut off at the edge."""
    found = boxes(figure)
    width, height = figure.bbox.width, figure.bbox.height
    says = []
    for words, box in found:
        if box.x0 < -slack or box.y0 < -slack or box.x1 > width + slack or box.y1 > height + slack:
            says.append(f"{words!r} is cut off")
    for (one, a), (other, b) in combinations(found, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > slack and up > slack:
            says.append(f"{one!r} runs into {other!r}")
    return says
