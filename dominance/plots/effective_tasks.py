"""Effective number of tasks over training: exp(entropy of rAU), 1 when one task owns all, K when all share alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.rau_buckets import rau_buckets
from dominance.errors import NothingRecorded
from dominance.plots import backends, cell_pages, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import INK, SEQUENTIAL, TASKS
from dominance.plots.result import Plot

_FIX_WHOLE = 'pass layers="each", or the run itself, or rau_buckets(run, by="all")'
_COLUMNS = 120


@backends.themed
def plot_effective_tasks(
    run_or_result: PlotInput,
    *,
    tasks: None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Effective number of tasks: a line for the whole shared trunk, or cells (layer, training step) for chosen layers.

    Args:
        run_or_result: an open run, or the result of ``rau_buckets``.
        tasks: it is a number of all tasks together; only None is possible.
        layers: None, "each", a glob, or names.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of layers to what stands on the plot.

    Raises:
        NothingRecorded: no step, fewer than two tasks, or no touched shared coordinate.
        BadOption: an unknown layer or backend.
    """
    b = backends.get(backend)
    by = "all" if layers is None else "layer"
    data = inputs.resolve(
        run_or_result, "effective_tasks", lambda run: rau_buckets(run, by=by, attribution=inputs.attribution(run))
    )
    data = inputs.one_run(data)
    count = data.sizes["task"]
    if count < 2:
        raise NothingRecorded("the effective number of one task is one", fix="record two tasks or more")
    left_out = ""
    if layers is None:
        data = inputs.whole_trunk(data, _FIX_WHOLE)
    else:
        known = inputs.known_layers(data["effective_tasks"])
        chosen, left_out = inputs.choose_layers(known, layers) if known else ([], "")
        data = data.sel(layer=chosen)
    values = data["effective_tasks"].transpose("layer", "step").values
    if not np.isfinite(values).any():
        raise NothingRecorded("no shared coordinate was moved by any task", fix="record a model with shared layers")
    note = joined(
        "exp(entropy of rAU over tasks), averaged over coordinates.", inputs.steps_left_out(data.attrs), left_out
    )
    data = data[["effective_tasks"]]
    if layers is None:
        return _over_steps(b, data, values[0], count, note, ax)
    return _by_layer(b, data, values, count, relabel(data["layer"].values.tolist(), labeller), note, ax)


def _over_steps(b: Backend, data: xr.Dataset, values: Any, count: int, note: str, ax: Any) -> Plot:
    """values: (step,)."""
    entries = [
        Entry("effective number of tasks", TASKS[0], line=True),
        Entry(f"{count}: all share alike; 1: one owns it", INK, line=True, dashes="--", width=0.7),
    ]
    sheet = sheets.panels(b, [""], sheets.Around(entries, note, "training step", "effective tasks"), ax)
    (axes,) = sheet.axes
    x = data["step"].values.astype(float)
    kept = series.thin(len(x), 300)
    place, line = series.opened(x[kept], values[kept], 1)
    b.line(axes, place, line, colour=TASKS[0], label="effective tasks")
    alone = series.lone(line)
    if alone.any():
        b.line(axes, place[alone], line[alone], colour=TASKS[0], marker=True)
    b.reference(axes, count, colour=INK, label="all share alike")
    limits = inputs.span(data)
    ticks, places = series.nice_ticks(*limits, 6, whole=True), series.nice_ticks(1, count, 5)
    b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks))
    b.axis(axes, "y", limits=(1, 1 + 1.08 * (count - 1)), ticks=places, labels=series.numbers(places))
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _by_layer(b: Backend, data: xr.Dataset, values: Any, count: int, rows: list[str], note: str, ax: Any) -> Plot:
    """values: (layer, step)."""
    limits = inputs.span(data)
    kept = series.columns(data["step"].values.astype(float), limits, _COLUMNS)
    ticks = series.nice_ticks(*limits, 6, whole=True)
    places = series.column_places(ticks, limits, len(kept))
    shown = len(np.unique(kept[kept >= 0]))
    gap = "Hatched: not recorded." if (kept < 0).any() else ""
    note = joined(inputs.steps_drawn(shown, data), gap, note)
    drawn = np.where(kept < 0, np.nan, values[:, kept])
    options: dict[str, Any] = {"colours": SEQUENTIAL[::-1], "low": 1, "high": count, "ruled": False}
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        b.cells(axes, drawn, **options)
        b.axis(axes, "x", ticks=places, labels=series.numbers(ticks))
        b.axis(axes, "y", ticks=np.arange(len(rows)) + 0.5, labels=rows, marks=False)
        b.axis_label(axes, "x", "training step")
        return Plot.on(axes, data, note, b)
    pages = cell_pages.heat(b, rows, [""] * len(kept), sheets.Around((), note, "training step"), body=4.6)
    for page in pages:
        b.cells(page.axes, drawn[page.rows.start : page.rows.stop], **options)
        cell_pages.names_on_sides(b, page)
        b.axis(page.axes, "x", ticks=places, labels=series.numbers(ticks))
        sides = [(1.0, "1 one owns it"), (float(count), f"{count} all alike")]
        cell_pages.colour_bar(b, page.bar, SEQUENTIAL[::-1], 1, count, sides)
    return Plot.of_pages(pages, data, note, b)
