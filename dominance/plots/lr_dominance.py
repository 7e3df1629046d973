"""Whose learning rate a shared parameter has: each task's own beside the whole one (the form of AdaTask, Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.learning_rate import lr_dominance
from dominance.errors import NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, fit, relabel
from dominance.plots.palette import lines_of
from dominance.plots.result import Plot

_PALE = "#bcbcbc"
_DRAWN = 300


@backends.themed
def plot_lr_dominance(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """A panel for each shared layer: the learning rate by each task's own accumulated gradients, and the whole one.

    Broad and pale: the learning rate that the parameters have. The task whose thin line lies on it has its own; one far
    above it learns more slowly than it would alone. The numbers under a layer's name are the closeness at the last
    step, from 0 to 1; see ``lr_dominance``.

    Args:
        run_or_result: an open run, or the result of ``lr_dominance``.
        tasks: names of the tasks to show; default all.
        layers: "each", a glob, or names.
        ax: axes to draw into, one for each layer.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: as ``lr_dominance``; or no shared layer had a gradient.
        BadOption: several runs, an unknown task, layer or backend.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "closeness", lr_dominance))
    chosen = inputs.choose_tasks(data, tasks)
    known = inputs.known_layers(data["whole"].fillna(data["learning_rate"].max("task")))
    if not known:
        raise NothingRecorded("no shared layer had a gradient", fix="record a model with shared layers")
    inside, left_out = inputs.choose_layers(known, layers or "each")
    everyone = [str(name) for name in data["task"].values]
    data = data[["learning_rate", "whole", "closeness"]].sel(layer=inside, task=chosen)
    words, titles = relabel(chosen, labeller), relabel(inside, labeller)
    of_everyone = dict(zip(everyone, lines_of(len(everyone)), strict=True))
    lines = [of_everyone[task] for task in chosen]
    entries = [
        Entry(f"{word} alone", colour, line=True, dashes=d) for word, (colour, d) in zip(words, lines, strict=True)
    ]
    whole = "all tasks as one" if data.attrs.get("own_rates") else "all tasks: the learning rate they have"
    entries.append(Entry(whole, _PALE, line=True, width=2.6))
    note = joined(*_notes(data), left_out)
    around = sheets.Around(entries, note, "training step", "effective learning rate")
    under = _closeness(b, data, words, sheets.panel_width(len(titles), 4)) if ax is None else ()
    sheet = sheets.panels(b, titles, around, ax, legend=True, subtitles=under, own_y=0.42, most=4)
    filling = _filling(data)
    for target, layer, below in zip(sheet.axes, inside, sheet.bottom, strict=True):
        _panel(b, target, data.sel(layer=layer), lines, filling, bool(below), 6 if len(titles) == 1 else 3)
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _panel(
    b: Backend, axes: Any, data: xr.Dataset, lines: Sequence[tuple[str, str]], filling: int, below: bool, most: int
) -> None:
    x = data["step"].values.astype(float)
    limits = inputs.span(data)
    ticks = series.nice_ticks(*limits, most, whole=True)
    b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if below else [])
    own, whole = data["learning_rate"].transpose("task", "step").values, data["whole"].values
    low, high = _limits(data.isel(step=slice(filling, None)))
    marks = series.log_ticks(low, high, 4)
    b.axis(axes, "y", limits=(low, high), ticks=marks, labels=[series.number(mark) for mark in marks], log=True)
    kept = series.thin(len(x), _DRAWN)
    place, curves = series.opened(x[kept], np.stack([whole, *own])[:, kept], 1)
    for y, (colour, dashes), width in zip(curves, [(_PALE, "-"), *lines], [2.6, *(1.0 for _ in lines)], strict=True):
        b.line(axes, place, y, colour=colour, dashes=dashes, width=width)
        alone = series.lone(y)
        if alone.any():
            b.line(axes, place[alone], y[alone], colour=colour, marker=True)


def _limits(data: xr.Dataset) -> tuple[float, float]:
    """Of the y axis: all values, with some room."""
    known = np.concatenate([data[name].values.ravel() for name in ("learning_rate", "whole")])
    known = known[np.isfinite(known)]
    return (float(known.min()) / 1.3, float(known.max()) * 1.3) if len(known) else (0.1, 10.0)


def _filling(data: xr.Dataset) -> int:
    """How many steps at the start run off the panels: an average that starts at 0 gives huge rates until it has filled.

    A twentieth of the steps, and only where a panel is then shorter by a decade.
    """
    first = data.sizes["step"] // 20
    for layer in data["layer"].values:
        (low, high), (least, most) = (_limits(data.sel(layer=layer).isel(step=slice(i, None))) for i in (0, first))
        if high / low > 10 * most / least:
            return first
    return 0


def _closeness(b: Backend, data: xr.Dataset, words: Sequence[str], width: float) -> list[str]:
    """For each layer: the closeness of two tasks, or of the nearest of more, in a line that fits the panel."""
    last = data["closeness"].isel(step=-1).transpose("layer", "task").values
    room = width - b.text_width("nearest  0.00", sheets.SMALL) - 0.15
    out = []
    for values in last:
        if not np.isfinite(values).any():
            out.append("")
        elif len(words) <= 2:
            short = fit(words, room / len(words), b, sheets.SMALL)
            out.append("  ".join(f"{word} {value:.2f}" for word, value in zip(short, values, strict=True)))
        else:
            nearest = int(np.nanargmax(values))
            out.append(f"nearest {fit(words, room, b, sheets.SMALL)[nearest]} {values[nearest]:.2f}")
    return out


def _notes(data: xr.Dataset) -> list[str]:
    about = data.attrs
    many = about.get("per_layer")
    filling = _filling(data)
    why = str(about.get("inexact_because", ""))
    return [
        "Effective: η / (√G + ε), the optimizer's learning rate over the root of the squared gradients that it has "
        "accumulated; small gradients make it many times η.",
        f"Median over {many} randomly chosen parameters of each layer." if many else "",
        "Numbers: closeness to the whole learning rate, 1: the same.",
        f"Rates before step {data['step'].values[filling]}, while averages fill, run off the panel." if filling else "",
        f"{about['optimizer']}: each task steps at its own learning rate." if about.get("own_rates") else "",
        f"Not exact: {why}." if why else "",
        inputs.steps_left_out(about),
    ]
