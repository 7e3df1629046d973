"""Which task's gradient is how large: shares of the gradient energy of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import NothingRecorded
from dominance.plots import backends, cell_pages, inputs, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import SEQUENTIAL, of_tasks
from dominance.plots.result import Plot

MOST_BARS = 4
"""With more tasks than this, a table of cells with numbers is read more easily than bars."""


def gradient_shares(run: xr.DataTree) -> xr.Dataset:
    """share(layer, task): the task's part of sum over tasks of ‖ĝ‖², summed over the recorded steps; 0..1.

    Only shared layers are kept; NaN where all gradients are zero.
    """
    layer = inputs.group(run, "layer")
    energy = layer["gradient_sq"].isel(layer=np.flatnonzero(layer["shared"].values)).sum("step")
    total = energy.sum("task")
    return xr.Dataset({"share": (energy / total.where(total > 0)).transpose(..., "layer", "task")})


@backends.themed
def plot_gradient_norms(
    run: xr.DataTree,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Share of the squared gradient norm that each task holds in each shared layer, over all recorded steps.

    Bars for up to four tasks, a table of numbers for more. A high share is no harm by itself: it says who is heard.

    Args:
        run: an open run.
        tasks: only these tasks; their shares still refer to all tasks.
        layers: "each", a glob, or names.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: fewer than two tasks, or no shared layer with a gradient.
        BadOption: not a run, an unknown task, layer or backend.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run, "share", _with_step))
    chosen = inputs.choose_tasks(data, tasks)
    if data.sizes["task"] < 2:
        raise NothingRecorded(
            f"shares compare tasks, and this run has one ({chosen[0]})", fix="record two tasks or more"
        )
    known = inputs.known_layers(data["share"])
    if not known:
        raise NothingRecorded("no shared layer has a gradient", fix="record a model with shared layers")
    names, left_out = inputs.choose_layers(known, layers or "each")
    data = data.sel(layer=names, task=chosen)[["share"]]
    percent = 100 * data["share"].transpose("layer", "task").values
    rows, columns = relabel(names, labeller), relabel(chosen, labeller)
    note = joined("Share of the tasks' summed squared gradient norms, all recorded steps.", left_out)
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        _bars(b, axes, percent, rows, columns)
        b.axis_label(axes, "x", "gradient energy (%)")
        b.legend(axes, _entries(columns))
        return Plot.on(axes, data, note, b)
    pages = (_table if len(columns) > MOST_BARS else _bars_by_page)(b, percent, rows, columns, note)
    return Plot.of_pages(pages, data, note, b)


def _entries(columns: Sequence[str]) -> list[Entry]:
    return [Entry(name, c, h) for name, c, h in zip(columns, *of_tasks(len(columns)), strict=True)]


def _bars(b: Backend, axes: Any, percent: Any, rows: Sequence[str], columns: Sequence[str], **y: Any) -> None:
    """A bar for each layer (row), in parts for the tasks (columns); ``y`` goes to the axis of the layers."""
    colours, hatches = of_tasks(len(columns))
    b.bars(axes, percent, colours=colours, hatches=hatches, labels=columns)
    b.axis(axes, "y", ticks=range(len(rows)), labels=rows, marks=False, **y)
    b.axis(axes, "x", limits=(0, 100), ticks=[0, 50, 100], labels=["0", "50", "100"])


def _bars_by_page(b: Backend, percent: Any, rows: list[str], columns: list[str], note: str) -> list[cell_pages.Heat]:
    around = sheets.Around(_entries(columns), note, "share of gradient energy (%)")
    pages = cell_pages.heat(b, rows, ["share"], around, body=3.2, bar_space=0.0, cell_height=(0.15, 0.2))
    for page in pages:
        part = percent[page.rows.start : page.rows.stop]
        _bars(b, page.axes, part, page.row_names, columns, limits=(len(part) - 0.5, -0.5))
    return pages


def _table(b: Backend, percent: Any, rows: list[str], columns: list[str], note: str) -> list[cell_pages.Heat]:
    pages = cell_pages.heat(b, rows, columns, sheets.Around((), f"{note} In per cent; a row adds up to 100."))
    for page in pages:
        part = percent[page.rows.start : page.rows.stop, page.columns.start : page.columns.stop]
        texts = [[f"{v:.0f}" if np.isfinite(v) else "" for v in row] for row in part]
        b.cells(page.axes, part, colours=SEQUENTIAL, low=0, high=100, texts=texts if page.cell[0] > 0.24 else None)
        cell_pages.names_on_sides(b, page)
        cell_pages.colour_bar(b, page.bar, SEQUENTIAL, 0, 100, [(0, "0 %"), (50, "50 %"), (100, "100 %")])
    return pages


def _with_step(run: xr.DataTree) -> xr.Dataset:
    """The shares, with the steps they come from, so that an empty run is seen to be empty."""
    return gradient_shares(run).assign_coords(step=run["step"])
