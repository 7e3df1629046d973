"""Losses of the tasks over training, each on its own scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.loss_curves import loss_curves
from dominance.analyse.steps import steps_taken
from dominance.errors import NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend
from dominance.plots.inputs import PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import GREY, of_tasks
from dominance.plots.result import Plot

MOST_POINTS = 300


@backends.themed
def plot_losses(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """One panel for each task: its own, unweighted loss over training steps, and the weight it has in the total.

    Pale: every step of which the loss is known, recorded or not (or the range of the steps in a bin, when there are
    many). Dark: mean over a window. The scale is logarithmic when all values are positive and span more than one and a
    half decades.

    Args:
        run_or_result: an open run, or a Dataset with loss(step, task) and, if known, weight(step, task).
        tasks: names of the tasks to show; default all.
        layers: losses have no layers; only None is possible.
        ax: axes to draw into, one for each task.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from task names to what stands on the plot.

    Raises:
        NothingRecorded: no loss was recorded.
        BadOption: an unknown task or backend.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "loss", _curves))
    chosen, everyone = inputs.choose_tasks(data, tasks), [str(name) for name in data["task"].values]
    kept = [name for name in ("loss", "weight") if name in data]
    every = bool(data["recorded"].all()) if "recorded" in data else True
    data = data[kept].sel(task=chosen).compute()
    known = np.isfinite(data["loss"].transpose("step", "task").values).any(axis=0)
    if not known.any():
        raise NothingRecorded("no loss value was recorded", fix="the losses must be tensors that backward() depends on")
    names = relabel(chosen, labeller)
    x = data["step"].values.astype(float)
    window = series.window_of(len(x))
    note = joined(
        f"Dark line: mean over {window} {'recorded steps' if every else 'losses'}." if window > 1 else "",
        f"Pale: range within {MOST_POINTS} bins of steps." if len(x) > MOST_POINTS else "",
        *(f"No value recorded for {name}." for name, has in zip(names, known, strict=True) if not has),
    )
    weights = weights_words(data["weight"].sel(task=chosen).values) if "weight" in data else [""] * len(chosen)
    around = sheets.Around((), note, "training step", "loss (unweighted)" if ax is None else "loss")
    sheet = sheets.panels(b, names, around, ax, subtitles=weights, own_y=0.42, most=4 if len(names) <= 8 else 5)
    limits, most = inputs.span(data), 6 if len(chosen) == 1 else 4
    colours = dict(zip(everyone, of_tasks(len(everyone))[0], strict=True))
    for target, task, under in zip(sheet.axes, chosen, sheet.bottom, strict=True):
        panel = b, target, x, data["loss"].sel(task=task).values
        _panel(*panel, window=window, limits=limits, colour=colours[task], under=bool(under), most=most)
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _curves(run: xr.DataTree) -> xr.Dataset:
    inputs.one_run(inputs.group(run, "loss"))
    return loss_curves(run).assign_attrs(steps_taken=steps_taken(run))


def weight_words(weight: Any) -> str:
    """The weights of a task in words: "weight 0.5", or the range they moved in.

    >>> weight_words([0.5, 0.5]), weight_words([1.0, 0.25]), weight_words([float("nan")])
    ('weight 0.5', 'weight 0.25 to 1', '')
    """
    known = np.asarray(weight, dtype=float)
    known = known[np.isfinite(known)]
    if not len(known):
        return ""
    low, high = series.number(float(known.min())), series.number(float(known.max()))
    return f"weight {low}" if low == high else f"weight {low} to {high}"


def weights_words(weights: Any) -> list[str]:
    """The same of each task, (step, task); nothing where all weights are 1 throughout.

    >>> weights_words([[1.0, 1.0], [1.0, float("nan")]]), weights_words([[1.0, 0.5]])
    (['', ''], ['weight 1', 'weight 0.5'])
    """
    columns = np.asarray(weights, dtype=float).T
    known = columns[np.isfinite(columns)]
    return [""] * len(columns) if (known == 1).all() else [weight_words(column) for column in columns]


def raw_and_smooth(b: Backend, axes: Any, x: Any, y: Any, window: int, colour: str) -> None:
    """The pale raw series, or its range in bins when it is long, and the dark mean over ``window`` samples."""
    x, y = series.opened(x, y, window)
    mean = series.smooth(y, window)
    if len(x) > MOST_POINTS:
        place, _, low, high = series.binned(x, y, MOST_POINTS)
        b.band(axes, place, low, high, colour=colour, alpha=0.3)
        kept = series.thin(len(x), MOST_POINTS)
        b.line(axes, x[kept], mean[kept], colour=colour, label="mean")
        return
    if window > 1:
        b.line(axes, x, y, colour=colour, alpha=0.35, width=0.6, label="raw")
    b.line(axes, x, mean, colour=colour, label="mean")
    alone = series.lone(y)
    if alone.any():
        b.line(axes, x[alone], y[alone], colour=colour, marker=True, label="single")


def _panel(
    b: Backend,
    axes: Any,
    x: Any,
    y: Any,
    *,
    window: int,
    limits: tuple[float, float],
    colour: str,
    under: bool,
    most: int,
) -> None:
    known = y[np.isfinite(y)]
    ticks = series.nice_ticks(*limits, most, whole=True)
    b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if under else [])
    if not len(known):
        b.axis(axes, "y", limits=(0, 1))
        b.text(axes, 0.5, 0.5, "no value", horizontal="center", vertical="center", colour=GREY)
        return
    low, high = float(known.min()), float(known.max())
    if low > 0 and math.log10(high / low) > 1.5:
        b.axis(axes, "y", limits=(low / 1.25, high * 1.25), **_log_labels(low, high), log=True)
    else:
        pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
        places = series.nice_ticks(low - pad, high + pad, 4)
        b.axis(axes, "y", limits=(low - pad, high + pad), ticks=places, labels=series.numbers(places))
    raw_and_smooth(b, axes, x, y, window, colour)


def _log_labels(low: float, high: float) -> dict[str, Any]:
    ticks = series.log_ticks(low, high, 4)
    return {"ticks": ticks, "labels": [series.number(tick) for tick in ticks]}
