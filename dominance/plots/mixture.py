"""Weights of a mixture over training: the present ones, and those that published formulas would give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.mixture import ALIKE, mixture
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Entry
from dominance.plots.inputs import PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import INK, of_tasks
from dominance.plots.result import Plot

FORMULAS = {"pike": ("PiKE", "-"), "dga": ("DGA", "--")}
"""Variables of ``mixture``, and how they are drawn."""


@backends.themed
def plot_mixture(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """One panel for each group: its share of the examples (dotted), and the weights by PiKE and DGA, over training.

    Each point is of a window of steps, and one update from the shares there; see ``mixture``.

    Args:
        run_or_result: an open run, or the result of ``mixture``.
        tasks: only these groups; their weights still refer to all.
        layers: only None is possible: the whole trunk.
        ax: axes to draw into, one for each group.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of groups to what stands on the plot.

    Raises:
        NothingRecorded: what ``mixture`` lacks.
        BadOption: an unknown group or backend, or a result of several runs.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "mean_dga", mixture))
    everyone, chosen = [str(name) for name in data["task"].values], inputs.choose_tasks(data, tasks)
    data = data.sel(task=chosen)
    kinds = {name: said for name, said in FORMULAS.items() if np.isfinite(data[name].values).any()}
    sampling = data.attrs["weights"] == "sampling"
    present = f"share of the {data.attrs['unit']}" if sampling else "share of the loss weights"
    entries = [Entry(said, INK, line=True, dashes=dashes) for said, dashes in kinds.values()]
    entries.append(Entry(present, INK, line=True, dashes=":"))
    target = data.attrs["target"]
    names = " and ".join(said for said, _ in kinds.values())
    note = joined(
        f"Weights that one update of {names} would give, from the present ones.",
        f"Target of DGA: {'all groups alike' if target == ALIKE else target}.",
        f"Windows of {data.attrs['window']} recorded steps.",
    )
    sheet = sheets.panels(b, relabel(chosen, labeller), sheets.Around(entries, note, "training step", "weight (%)"), ax)
    x = (data["first_step"].values + data["last_step"].values) / 2
    limits, top = series.span(x), _top(data)
    ticks = series.nice_ticks(*limits, 4, whole=True)
    heights = series.nice_ticks(0, top, 4)
    colours = dict(zip(everyone, of_tasks(len(everyone))[0], strict=True))
    for axes, task, under in zip(sheet.axes, chosen, sheet.bottom, strict=True):
        own = data.sel(task=task)
        b.line(axes, x, 100 * own["present"].values, colour=INK, dashes=":", label="present")
        for name, (_, dashes) in kinds.items():
            values = 100 * own[name].values
            b.line(axes, x, values, colour=colours[task], dashes=dashes, label=name)
            alone = series.lone(values)
            if alone.any():
                b.line(axes, x[alone], values[alone], colour=colours[task], marker=True, label=name)
        b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if under else [])
        b.axis(axes, "y", limits=(0, top), ticks=heights, labels=series.numbers(heights))
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _top(data: xr.Dataset) -> float:
    """A little above the largest weight, in per cent."""
    most = max(float(np.nanmax(data[name].values, initial=0.0)) for name in ("present", *FORMULAS))
    return min(105.0, 110 * most)
