"""Values of several groups side by side: every value as a pale dot, the mean and its interval dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dominance.plots import series, sheets
from dominance.plots.backends import Backend
from dominance.plots.labels import fit
from dominance.plots.palette import GREY, INK, TASKS


@dataclass(frozen=True)
class Dots:
    """One column of dots: its values, their mean, and the interval of the mean (NaN: none)."""

    values: Any
    mean: float
    low: float = float("nan")
    high: float = float("nan")


def column_names(
    b: Backend, words: Sequence[str], room: float, *, longest: float, spare: float
) -> tuple[list[str], bool, float]:
    """The names below the columns, whether they stand upright, and then the inches that they need.

    Args:
        room: inches of a column.
        longest: inches of an upright name; a longer one is shortened.
        spare: inches that level names leave free.
    """
    upright = max(b.text_width(word, sheets.SMALL) for word in words) > room - spare
    names = fit(words, longest if upright else room, b, sheets.SMALL)
    below = max(b.text_width(name, sheets.SMALL) for name in names) - 0.1
    return names, upright, max(below, 0.0) if upright else 0.0


def draw(
    b: Backend, axes: Any, groups: Sequence[Dots], names: Sequence[str], *, upright: bool, zero: bool = False
) -> None:
    """Draw the groups at 0, 1, 2... of the x axis, the dots left of the mean; no names: none below the axis.

    The y axis fits what is drawn, and ``zero``.
    """
    everything = np.concatenate([[g.mean, g.low, g.high, *np.ravel(g.values)] for g in groups])
    known = everything[np.isfinite(everything)]
    if not len(known):
        b.axis(axes, "x", limits=(-0.6, len(groups) - 0.4))
        b.text(axes, 0.5, 0.5, "no value", horizontal="center", vertical="center", colour=GREY)
        return
    known = np.append(known, 0.0) if zero else known
    low, high = float(known.min()), float(known.max())
    pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ticks = series.nice_ticks(low - pad, high + pad, 5)
    b.axis(axes, "y", limits=(low - pad, high + pad), ticks=ticks, labels=series.numbers(ticks))
    turn = 90.0 if upright else 0.0
    places = np.arange(len(groups))
    options: dict[str, Any] = {"ticks": places, "labels": list(names), "rotation": turn} if names else {}
    b.axis(axes, "x", limits=(-0.6, len(groups) - 0.4), **options)
    for i, group in enumerate(groups):
        values = np.ravel(np.asarray(group.values, dtype=float))
        beside = i - (np.linspace(0.3, 0.1, len(values)) if len(values) > 1 else np.full(len(values), 0.2))
        b.line(axes, beside, values, colour=TASKS[0], alpha=0.6, marker=True, label="each run")
        if np.isfinite(group.low) and np.isfinite(group.high):
            b.line(axes, [i + 0.15] * 2, [group.low, group.high], colour=INK, width=0.9, label="interval")
        b.line(axes, [i, i + 0.3], [group.mean, group.mean], colour=INK, width=1.4, label="mean")
