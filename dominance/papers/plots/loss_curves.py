"""Training losses of many methods by epoch, one of them in front of the others (the form of MoCoGrad, Fig. 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.plots import backends, series, sheets
from dominance.plots.backends import Entry
from dominance.plots.palette import GREY, INK, TASKS
from dominance.plots.result import Plot

_FRONT = TASKS[6]


@backends.themed
def plot_loss_curves(data: xr.Dataset, *, front: str, base: str, backend: str | Any = "matplotlib") -> Plot:
    """A panel for each task: the method in front, a base, and the range and median of all other methods.

    A line for each of ten methods cannot be told apart; what counts is where one lies among the others.

    Args:
        data: loss (method, task, epoch), each positive.
        front, base: labels of the two methods that have lines of their own.

    Returns:
        Plot; ``data`` is what was given.
    """
    b = backends.get(backend)
    tasks = [str(task) for task in data["task"].values]
    others = [name for name in data["method"].values.tolist() if name not in (front, base)]
    entries = [
        Entry(front, _FRONT, line=True, width=1.6),
        Entry(base, INK, line=True, dashes="--"),
        Entry("median of the others", GREY, line=True),
        Entry("their range", "#dddddd"),
    ]
    note = f"Mean over seeds of the mean over an epoch. Others: {', '.join(others)}."
    sheet = sheets.grid(
        b, tasks, sheets.Around(entries, note, "epoch", "training loss"), own_y=0.42, most=4, height=1.2
    )
    x = data["epoch"].values.astype(float) + 1
    limits, drawn = series.span(x), list(range(len(x)))
    if len(x) == 1:  # a point would not be seen: a level line across the panel
        x, drawn = np.array(limits), [0, 0]
    for number, axes in enumerate(sheet.axes):
        loss = data["loss"].isel(task=number, epoch=drawn).transpose("method", "epoch")
        rest = loss.sel({"method": others}).values
        if others:
            b.band(axes, x, np.nanmin(rest, axis=0), np.nanmax(rest, axis=0), colour="#dddddd")
            b.line(axes, x, np.nanmedian(rest, axis=0), colour=GREY)
        b.line(axes, x, loss.sel({"method": base}).values, colour=INK, dashes="--")
        b.line(axes, x, loss.sel({"method": front}).values, colour=_FRONT, width=1.6)
        known = loss.values[np.isfinite(loss.values)]
        low, high = float(known.min()), float(known.max())
        room = 0.05 * (high - low or 1.0)
        ticks = series.nice_ticks(low - room, high + room, 4)
        b.axis(axes, "y", limits=(low - room, high + room), ticks=ticks, labels=series.numbers(ticks))
        places = series.nice_ticks(*limits, 4, whole=True)
        labels = series.numbers(places) if sheet.bottom[number] else []
        b.axis(axes, "x", limits=limits, ticks=places, labels=labels)
    return Plot(sheet.figures, sheet.axes, data, note, b)
