"""The look that all matplotlib drawings share, and how wide words are in its font."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import matplotlib
from matplotlib.font_manager import FontProperties, findfont, get_font

from dominance.plots.palette import INK

FONT, MONO = "DejaVu Sans", "DejaVu Sans Mono"  # they come with matplotlib: the same everywhere
THEME: dict[str, Any] = {
    "font.family": [FONT],
    "font.size": 7.5,
    "axes.linewidth": 0.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "pdf.compression": 6,
    "svg.fonttype": "path",
    "svg.hashsalt": "dominance",
    "savefig.dpi": 200,
    "figure.dpi": 100,
}

_inside: ContextVar[bool] = ContextVar("_inside", default=False)


@contextmanager
def theme(look: Mapping[str, Any] | None = None) -> Iterator[None]:
    """The look of every plot, whatever the user's rcParams; they are back when it ends.

    It may stand inside itself, and then does and costs nothing.

    Args:
        look: rcParams of another look, on top of ours.
    """
    if _inside.get():
        yield
        return
    token = _inside.set(True)
    try:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            params: Any = matplotlib.rcParams
            params.update({**THEME, **(look or {})})
            yield
    finally:
        _inside.reset(token)


@cache
def _font() -> Any:
    return get_font(findfont(FontProperties(family=FONT)))


@cache
def _characters() -> frozenset[int]:
    return frozenset(_font().get_charmap())


@cache
def _advance(character: str) -> float:
    """Width of a character of a font one point in size, in points."""
    font = _font()
    font.set_size(100.0, 72)  # matplotlib draws with the same object, and leaves it at another size
    return float(font.load_char(ord(character)).linearHoriAdvance) / 65536 / 100


def printable(text: str) -> str:
    """The text with characters that the font lacks written as ``\\uXXXX``: legible, where a box would not be."""
    known = _characters()
    return "".join(c if c == "\n" or ord(c) in known else c.encode("ascii", "backslashreplace").decode() for c in text)


def text_width(text: str, size: float, *, mono: bool = False) -> float:
    """Width of one line of text in inches at a size in points; ``mono``: in the font of code."""
    if mono:
        return len(printable(text)) * 1233 / 2048 * size / 72
    return sum(_advance(character) for character in printable(text)) * size / 72
