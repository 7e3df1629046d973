"""Drawing with matplotlib in the look of seaborn: a white panel with a pale grid and no ticks.

Places and sizes of words stay ours, since they are worked out from the width of the font; so do the colours, which can
be told apart in grey.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from dominance.plots.backends import style
from dominance.plots.backends.matplotlib_ import (
    axis,
    axis_label,
    band,
    bars,
    cells,
    figure,
    figure_of,
    image,
    legend,
    line,
    new_axes,
    png,
    printable,
    reference,
    rule,
    save,
    size_of,
    stacked_area,
    text,
    text_width,
    title,
)  # fmt: skip

__all__ = [
    "axis", "axis_label", "band", "bars", "cells", "figure", "figure_of", "image", "legend", "line", "new_axes", "png",
    "printable", "reference", "rule", "save", "size_of", "stacked_area", "text", "text_width", "theme", "title",
]  # fmt: skip

_TAKEN = ("axes.", "grid.", "xtick.", "ytick.")
"""Settings that make up the look; fonts and sizes are left alone."""


def theme() -> AbstractContextManager[None]:
    """Seaborn's style "whitegrid" on top of ours."""
    return style.theme(_look())


@cache
def _look() -> dict[str, Any]:
    import seaborn

    found = seaborn.axes_style("whitegrid")
    return {name: value for name, value in found.items() if name.startswith(_TAKEN)} | {"grid.linewidth": 0.4}
