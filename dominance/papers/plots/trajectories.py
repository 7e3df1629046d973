"""Ways of two losses from several starts (the form of PUB, Fig. 2): one plane of the losses for each method."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.plots import backends, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.palette import GREY, INK, TIME
from dominance.plots.result import Plot

FRONT = "#5a8cc4"
_LEVELS = 7


@backends.themed
def plot_trajectories(data: xr.Dataset, *, backend: str | Any = "matplotlib") -> Plot:
    """A panel for each method: two losses against each other from each start, over level lines of their mean.

    Args:
        data: ``first`` and ``second`` (method, start, point): the two losses on the way, NaN after its end;
            ``front_first`` and ``front_second`` (place): the Pareto front. ``attrs``: ``names`` of the two losses,
            ``marks``: characters, and the pair at which each stands; ``note``, which says what they are.

    Returns:
        Plot; ``data`` is what was given.
    """
    b = backends.get(backend)
    methods = [str(name) for name in data["method"].values]
    first, second = data.attrs["names"]
    entries = [
        Entry("first steps", TIME[0], line=True, width=1.2),
        Entry("last steps", TIME[-1], line=True, width=1.2),
        Entry("Pareto front", FRONT, line=True, width=2.6),
        Entry(f"level lines of ({first} + {second}) / 2", GREY, line=True, width=0.4),
    ]
    note = f"Dots: starts. {data.attrs.get('note', '')}".strip()
    sheet = sheets.grid(b, methods, sheets.Around(entries, note, first, second), height=1.3)
    x_limits, y_limits = _limits(data, "first"), _limits(data, "second")
    for number, axes in enumerate(sheet.axes):
        _levels(b, axes, x_limits, y_limits)
        b.line(axes, data["front_first"].values, data["front_second"].values, colour=FRONT, width=2.6)
        one = data.isel(method=number)
        for start in range(data.sizes["start"]):
            x, y = (one[name].isel(start=start).values for name in ("first", "second"))
            known = np.isfinite(x) & np.isfinite(y)
            _way(b, axes, x[known], y[known])
        for mark, point in data.attrs["marks"].items():
            b.text(axes, *_fraction(point, x_limits, y_limits), mark, size=8.0, **_CENTRED)
        for which, limits, shown in (("x", x_limits, sheet.bottom[number]), ("y", y_limits, sheet.first[number])):
            ticks = series.nice_ticks(*limits, 3 if which == "x" else 5)
            b.axis(axes, which, limits=limits, ticks=ticks, labels=series.numbers(ticks) if shown else [])
    return Plot(sheet.figures, sheet.axes, data, note, b)


_CENTRED: dict[str, Any] = {"horizontal": "center", "vertical": "center", "colour": INK}


def _way(b: Backend, axes: Any, x: np.ndarray, y: np.ndarray) -> None:
    """One way in pieces of equal length in points, from the first colour to the last; a dot where it begins."""
    edges = np.linspace(0, len(x) - 1, len(TIME) + 1).round().astype(int)
    for low, high, colour in zip(edges[:-1], edges[1:], TIME, strict=True):
        b.line(axes, x[low : high + 1], y[low : high + 1], colour=colour, width=1.2)
    if len(x):
        b.line(axes, x[:1], y[:1], colour=INK, marker=True)


def _levels(b: Backend, axes: Any, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Straight lines on which the mean of both losses is the same."""
    for level in np.linspace(x[0] + y[0], x[1] + y[1], _LEVELS + 2)[1:-1]:
        b.line(axes, np.array(x), level - np.array(x), colour=GREY, width=0.4)


def _limits(data: xr.Dataset, name: str) -> tuple[float, float]:
    known = np.concatenate([data[name].values.ravel(), data[f"front_{name}"].values])
    known = known[np.isfinite(known)]
    room = 0.06 * (float(known.max()) - float(known.min()) or 1.0)
    return float(known.min()) - room, float(known.max()) + room


def _fraction(point: Any, x: tuple[float, float], y: tuple[float, float]) -> tuple[float, float]:
    return (point[0] - x[0]) / (x[1] - x[0]), (point[1] - y[0]) / (y[1] - y[0])
