"""How far the update follows the gradient, on task-specific and on shared parameters (PUB, Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.alignment import alignment
from dominance.analyse.kernels.alignment import diff
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, cell_pages, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.losses import MOST_POINTS
from dominance.plots.palette import DASHES, INK, TASKS
from dominance.plots.result import Plot

_SPECIFIC, _SHARED = TASKS[0], TASKS[1]


@backends.themed
def plot_alignment(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Sim_task and Sim_share over training steps, and Diff beside them; or the mean Sim of each layer.

    Args:
        run_or_result: an open run, or the result of ``alignment``.
        tasks: draw the task-specific parameters of these tasks apart, a line each; default all together.
        layers: None for lines over training steps; "each", a glob or names for a bar of the mean Sim of each layer.
        ax: axes to draw into: two over steps (one where there is no Diff), one for bars.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no step, or none at which anything moved.
        BadOption: an unknown task, layer or backend, tasks beside layers, or a result of several runs.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "sim_shared", alignment))
    if layers is not None:
        if tasks is not None:
            raise BadOption("bars are for layers, not for tasks", fix="leave tasks= or layers= out")
        return _by_layer(b, data, layers, labeller, ax)
    lines = _lines(data, tasks, labeller)
    silent = [name for name, values, *_ in lines if not np.isfinite(values).any()]
    lines = [line for line in lines if np.isfinite(line[1]).any()]
    if not lines:
        raise NothingRecorded(
            "at no step did a parameter with a gradient move", fix="record steps that the model takes"
        )
    x = data["step"].values.astype(float)
    window = series.window_of(len(x))
    limits = inputs.span(data)
    raw = data["diff"].values
    has_diff = bool(np.isfinite(raw).any())
    lines = [(name, series.opened(x, values, window)[1], colour, dashes) for name, values, colour, dashes in lines]
    (place, raw), both = series.opened(x, raw, window), [data[name].values for name in ("sim_task", "sim_shared")]
    smooth = diff(*(series.smooth(series.opened(x, values, window)[1], window) for values in both))
    top = 1.1 * max(_most(smooth), _most(raw), 0.1)
    beyond = int((raw > top).sum())
    note = joined(
        "Cosine of the gradient and of the step taken, all coordinates: 1 for plain SGD.",
        f"No {' and no '.join(silent)} with a gradient." if silent else "",
        f"Dark: mean over {window} recorded steps{', Diff of these means' if has_diff else ''}." if window > 1 else "",
        f"Mean Diff {_of(data, 'mean_diff')}; Diff of the mean similarities {_of(data, 'diff_of_means')}."
        if has_diff
        else "",
        f"Steps with a Diff above the axis: {beyond}." if beyond else "",
    )
    entries = [Entry(name, colour, line=True, dashes=dashes) for name, _, colour, dashes in lines]
    titles = ["similarity of gradient and update", "Diff of task-specific and shared"][: 1 + has_diff]
    around = sheets.Around(entries, note, "training step")
    sheet = sheets.panels(b, titles, around, ax, legend=True, own_y=0.42, height=1.25)
    axes = sheet.axes
    ticks = series.nice_ticks(*limits, 4, whole=True)
    for target in axes:
        b.axis(target, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks))
    _values_on(b, axes[0], np.concatenate([values for _, values, *_ in lines]))
    for _, values, colour, dashes in lines:
        _both(b, axes[0], place, values, series.smooth(values, window), colour, dashes)
    if has_diff:
        _values_on(b, axes[1], np.array([0.0, top / 1.08]))
        _both(b, axes[1], place, np.where(np.isfinite(raw), raw, np.nan), smooth, TASKS[2])
    return Plot(sheet.figures, axes, data, note, b)


def _lines(
    data: xr.Dataset, tasks: str | Sequence[str] | None, labeller: Labeller | None
) -> list[tuple[str, Any, str, str]]:
    """Name, values, colour and dashes of each."""
    shared = ("shared parameters", data["sim_shared"].values, _SHARED, DASHES[0])
    if tasks is None:
        return [("task-specific parameters", data["sim_task"].values, _SPECIFIC, DASHES[1]), shared]
    chosen = inputs.choose_tasks(data, tasks)
    colours = [colour for colour in TASKS if colour != _SHARED]
    apart = []
    for i, (task, name) in enumerate(zip(chosen, relabel(chosen, labeller), strict=True)):
        look = colours[i % len(colours)], DASHES[1 + i % (len(DASHES) - 1)]
        apart.append((f"parameters of {name} alone", data["sim_task_of"].sel(task=task).values, *look))
    return [*apart, shared]


def _of(data: xr.Dataset, name: str) -> str:
    value = float(data[name])
    return series.number(round(value, 6)) if np.isfinite(value) else "not finite"


def _most(values: Any) -> float:
    """Largest but for what sticks out: a Diff is as large as can be where similarities cancel."""
    known = values[np.isfinite(values)]
    return float(min(known.max(), 3 * np.quantile(known, 0.9))) if len(known) else 0.0


def _both(b: Backend, axes: Any, x: Any, raw: Any, smooth: Any, colour: str, dashes: str = "-") -> None:
    """The pale raw series, or its range in bins, and a dark smooth one."""
    if len(x) > MOST_POINTS:
        place, _, low, high = series.binned(x, raw, MOST_POINTS)
        b.band(axes, place, low, high, colour=colour, alpha=0.25)
    elif len(x) >= 40:
        b.line(axes, x, raw, colour=colour, alpha=0.3, width=0.6, label="raw")
    kept = series.thin(len(x), MOST_POINTS)
    b.line(axes, x[kept], smooth[kept], colour=colour, dashes=dashes, label="mean")
    alone = series.lone(smooth)
    if alone.any():
        b.line(axes, x[alone], smooth[alone], colour=colour, marker=True, label="single")


def _values_on(b: Backend, axes: Any, values: Any) -> None:
    """A y axis that holds 0 and the values."""
    known = values[np.isfinite(values)]
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    room = 0.08 * (high - low) or 1.0
    limits = (low - (room if low < 0 else 0.0), high + room)
    ticks = series.nice_ticks(*limits, 5)
    b.axis(axes, "y", limits=limits, ticks=ticks, labels=series.numbers(ticks))


def _by_layer(b: Backend, data: xr.Dataset, layers: Layers, labeller: Labeller | None, ax: Any) -> Plot:
    """Bars of the mean over steps."""
    known = inputs.known_layers(data["sim"])
    if not known:
        raise NothingRecorded(
            "at no step did a parameter with a gradient move", fix="record steps that the model takes"
        )
    names, left_out = inputs.choose_layers(known, layers or "each")
    data = data.sel(layer=names)
    mean = data["sim"].mean("step").values
    shared = data["shared"].values.astype(bool)
    parts = np.stack([np.where(shared, 0, mean), np.where(shared, mean, 0)], axis=1)
    rows = relabel(names, labeller)
    note = joined("Mean over steps of the cosine of gradient and step taken, all coordinates.", left_out)
    colours, labels = (_SPECIFIC, _SHARED), ("task-specific", "shared")
    low, high = min(0.0, float(mean.min())), max(0.0, float(mean.max()))
    room = 0.06 * (high - low) or 1.0
    limits = (low - (room if low < 0 else 0.0), high + room)
    ticks = series.nice_ticks(*limits, 6)
    axis: dict[str, Any] = {"limits": limits, "ticks": ticks, "labels": series.numbers(ticks)}
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        b.bars(axes, parts, colours=colours, hatches=("", ""), labels=labels)
        b.axis(axes, "x", **axis)
        b.axis(axes, "y", ticks=range(len(rows)), labels=rows, marks=False)
        b.axis_label(axes, "x", "mean similarity")
        return Plot.on(axes, data, note, b)
    entries = [Entry(name, colour) for name, colour in zip(labels, colours, strict=True)]
    around = sheets.Around(entries, note, "mean similarity of gradient and update")
    pages = cell_pages.heat(b, rows, ["sim"], around, body=2.8, bar_space=0.0, cell_height=(0.15, 0.2))
    for page in pages:
        b.bars(page.axes, parts[page.rows.start : page.rows.stop], colours=colours, hatches=("", ""), labels=labels)
        b.axis(page.axes, "x", **axis)
        cell_pages.names_down(b, page.axes, page.row_names)
        if low < 0:
            b.line(page.axes, [0, 0], [-0.5, len(page.rows) - 0.5], colour=INK, width=0.5, label="zero")
    return Plot.of_pages(pages, data, note, b)
