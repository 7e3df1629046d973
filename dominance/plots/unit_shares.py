"""Whose the units are: a row for each expert, head or neuron; of many, as rows of embeddings, a point for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.groups import By
from dominance.analyse.unit_shares import unit_shares
from dominance.errors import NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.cell_table import percent_table
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import MARKS, of_tasks
from dominance.plots.result import Plot

MOST_ROWS = 60
"""More units than this are points, by how often they were there."""


@backends.themed
def plot_unit_shares(
    run_or_result: PlotInput,
    *,
    by: By = "expert",
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Which task moves each unit, and which task uses it: a row of cells for each, in per cent.

    Left each task's share of the unit's squared updates, right the part of the task's squared gradient that goes
    through the unit, which columns add up to 100 over all units. Of more than 60 units, as of the rows of an embedding,
    each is a point: how often it was there, against the task's share of it. See ``unit_shares``.

    Args:
        run_or_result: an open run, or the result of ``unit_shares``.
        by: of a run, the units: "expert", "head", "neuron", "row", a pattern, or ``Units``.
        tasks: show these tasks.
        layers: "each", a glob, or names of units.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and units to what stands on the plot.

    Raises:
        NothingRecorded: no usable step, no shared parameter, no such units, or none that a task has moved.
        BadOption: not a run, an unknown task, unit or backend, or ``by`` tells of no units.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "share", lambda run: unit_shares(run, by=by)))
    chosen = inputs.choose_tasks(data, tasks)
    known = inputs.known_layers(data["share"])
    if not known:
        raise NothingRecorded("no task has moved one of these units", fix="record more steps")
    names, _ = inputs.choose_layers(known, layers or "each", most=len(known))
    unmoved = data.sizes["layer"] - len(known)
    data = data.sel(layer=names)
    others = list(data.attrs.get("alone", {}).items())
    alone = ", ".join(f"{label} ({task})" for label, task in others[:6]) + (" ..." if len(others) > 6 else "")
    note = joined(
        f"{unmoved} units that no task has moved are left out." if unmoved else "",
        f"Reached by one task alone: {alone}." if others else "",
        inputs.steps_left_out(data.attrs),
    )
    if len(names) > MOST_ROWS:
        return _points(b, data, chosen, note, ax, labeller)
    return _cells(b, data, chosen, note, ax, labeller)


def _cells(b: Backend, data: xr.Dataset, chosen: list[str], note: str, ax: Any, labeller: Labeller | None) -> Plot:
    words = relabel(chosen, labeller)
    columns = [*words, *(f"{word}: use" for word in words)]
    percent = 100 * np.concatenate(
        [data[name].sel(task=chosen).transpose("layer", "task").values for name in ("share", "use")], axis=1
    )
    rows = relabel([str(name) for name in data["layer"].values], labeller)
    note = joined(
        "Each task's share of the unit's squared updates, and (use) how much of the task's squared gradient goes "
        "through the unit, in per cent.",
        note,
    )
    return percent_table(b, percent, rows, columns, ax=ax, data=data, note=note)


def _points(b: Backend, data: xr.Dataset, chosen: list[str], note: str, ax: Any, labeller: Labeller | None) -> Plot:
    """A panel with the units of all tasks: how often each was there, and whose it is."""
    colours, _ = of_tasks(len(chosen))
    marks = [MARKS[i % len(MARKS)] for i in range(len(chosen))]
    entries = [
        Entry(name, colour, marker=mark)
        for name, colour, mark in zip(relabel(chosen, labeller), colours, marks, strict=True)
    ]
    often = 100 * data["touched"].values
    note = joined(f"A point for each of {data.sizes['layer']} units and each task.", note)
    around = sheets.Around(entries, note, "recorded steps in which it has a gradient, %", "share of its updates, %")
    sheet = sheets.panels(b, [""], around, ax, legend=True)
    (axes,) = sheet.axes
    for task, entry in zip(chosen, entries, strict=True):
        values = 100 * data["share"].sel(task=task).values
        b.line(axes, often, values, colour=entry.colour, marker=entry.marker, alpha=0.6, label=entry.label)
    top = float(np.nanmax(often, initial=1.0))
    ticks = series.nice_ticks(0.0, top, 6)
    b.axis(axes, "x", limits=(0, 1.02 * top), ticks=ticks, labels=series.numbers(ticks))
    b.axis(axes, "y", limits=(-2, 102), ticks=[0, 25, 50, 75, 100], labels=["0", "25", "50", "75", "100"])
    return Plot(sheet.figures, sheet.axes, data, note, b)
