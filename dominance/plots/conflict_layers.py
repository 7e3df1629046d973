"""Where tasks conflict: mean gradient conflict degree of pairs of tasks in layers, from the largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.conflict import conflict_layers
from dominance.errors import NothingRecorded
from dominance.plots import backends, cell_pages, inputs, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, fit, relabel
from dominance.plots.palette import DIVERGING, INK
from dominance.plots.result import Plot

MOST_ROWS = 30
_COLOURS = (DIVERGING[1], DIVERGING[3])


@backends.themed
def plot_conflict_layers(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Bars of the mean GCD of two tasks in a layer, the largest on top, with the threshold above which they conflict.

    A whisker goes from the lower bound to the mean; a bar whose lower bound exceeds the threshold is coloured. At most
    30 bars are drawn: the first ones.

    Args:
        run_or_result: an open run, or the result of ``conflict_layers``.
        tasks: show the pairs among these tasks; default all.
        layers: None or "each" for all, a glob, or names.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no step, or no pair with two gradients at the same step.
        BadOption: an unknown task, layer or backend, or a result of several runs.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "lower", conflict_layers))
    known = list(dict.fromkeys([*data["task"].values.tolist(), *data["task_other"].values.tolist()]))
    chosen = inputs.choose_tasks(xr.Dataset(coords={"task": known}), tasks)
    inside = np.isin(data["task"].values, chosen) & np.isin(data["task_other"].values, chosen)
    if layers is not None:
        there = list(dict.fromkeys(data["layer"].values.tolist()))
        inside &= np.isin(data["layer"].values, inputs.choose_layers(there, layers, most=len(there))[0])
    data = data.isel(place=np.flatnonzero(inside))
    count = data.sizes["place"]
    if not count:
        raise NothingRecorded("no two of these tasks have gradients at the same step", fix="choose two tasks or more")
    shown = min(count, MOST_ROWS)
    threshold = float(data.attrs["threshold"])
    first, second = (relabel(data[name].values[:shown].tolist(), labeller) for name in ("task", "task_other"))
    names = relabel(data["layer"].values[:shown].tolist(), labeller)
    short = dict(zip([*first, *second], fit([*first, *second], 0.7, b, sheets.SMALL), strict=True))
    pairs = [f"{short[one]} × {short[other]}" for one, other in zip(first, second, strict=True)]
    several = len(set(zip(data["task"].values.tolist(), data["task_other"].values.tolist(), strict=True))) > 1
    cut = count - shown + int(data.attrs.get("left_out_by_top", 0))
    confidence = 100 * float(data.attrs["confidence"])
    note = joined(
        f"Mean over steps of GCD = 1 − cosine of the gradients{'' if several else ' of ' + pairs[0]}.",
        f"Line: down to its lower bound ({confidence:.3g} %, all rows together).",
        f"{cut} pairs with smaller means are not shown." if cut else "",
    )
    entries = [
        Entry(f"conflict: above {threshold:.3g} with its bound", _COLOURS[1]),
        Entry("not sure, or none", _COLOURS[0]),
    ]
    widest = max(b.text_width(pair, sheets.SMALL) for pair in pairs) + 0.18 if several else 0.0
    values = {name: data[name].values[:shown] for name in ("mean_gcd", "lower", "conflict")}
    values["pair"] = np.array(pairs if several else [""] * shown, dtype=object)
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        _draw(b, axes, values, threshold, 1.6)
        cell_pages.names_down(b, axes, names)
        b.axis_label(axes, "x", "mean GCD")
        return Plot.on(axes, data, note, b)
    around = sheets.Around(entries, note, "mean GCD")
    body = 2.4 + widest
    pages = cell_pages.heat(b, names, ["gcd"], around, body=body, bar_space=0.0, cell_height=(0.15, 0.17))
    for page in pages:
        part = slice(page.rows.start, page.rows.stop)
        wide = page.cell[0]  # less than asked for, where one column of a paper nearly holds it
        scale = wide / (wide - widest)
        _draw(b, page.axes, {name: each[part] for name, each in values.items()}, threshold, scale)
        cell_pages.names_down(b, page.axes, page.row_names)
    return Plot.of_pages(pages, data, note, b)


def _draw(b: Backend, axes: Any, values: dict[str, Any], threshold: float, width: float) -> None:
    """Bars, bounds and the threshold of some rows, the first on top; the names of the pairs right of all GCDs.

    Args:
        width: of the axes, in units of the part that shows GCDs, where there are names.
    """
    mean, lower, sure = values["mean_gcd"], values["lower"], values["conflict"].astype(bool)
    parts = np.stack([np.where(sure, 0, mean), np.where(sure, mean, 0)], axis=1)
    b.bars(axes, parts, colours=_COLOURS, hatches=("", ""), labels=("no conflict", "conflict"))
    for row, (low, high) in enumerate(zip(lower, mean, strict=True)):
        if np.isfinite(low):
            b.line(axes, [max(float(low), 0.0), float(high)], [row, row], colour=INK, width=0.8, label="bound")
    ends = [-0.5, len(mean) - 0.5]
    b.line(axes, [threshold] * 2, ends, colour=INK, dashes="--", width=0.7, label="threshold")
    named = any(values["pair"])
    if named:
        b.line(axes, [2.0] * 2, ends, colour=INK, width=0.5, label="end")
    for row, pair in enumerate(values["pair"] if named else ()):
        b.text(axes, 1.02 / width, 1 - (row + 0.5) / len(mean), pair, size=sheets.SMALL, vertical="center")
    right = 2 * width if named else 2.0
    b.axis(axes, "x", limits=(0, right), ticks=[0, 0.5, 1, 1.5, 2], labels=["0", "0.5", "1", "1.5", "2"])
