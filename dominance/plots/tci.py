"""Task conflict intensity: how much worse than alone each task is (MoCoGrad, Definition 2 and Fig. 2 a)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.dots import Dots, column_names, draw
from dominance.plots.inputs import joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import INK, TASKS
from dominance.plots.result import Plot

_LABEL = "relative TCI (%)"
_ALONE = "0: as good as alone; above it worse"


@backends.themed
def plot_tci(
    run_or_result: xr.Dataset,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Relative TCI of every task and metric: its mean and interval over runs; or, over epochs, a panel for each.

    Args:
        run_or_result: the result of ``tci`` or of ``tci_over_epochs``.
        tasks: names of the tasks to show; default all.
        layers: TCI has no layers; only None is possible.
        ax: axes to draw into: one, or over epochs one for each task and metric.
        backend: "matplotlib" or "none", or an object with the functions of one.
        labeller: mapping or function from task names to what stands on the plot.

    Raises:
        NothingRecorded: there is no TCI.
        BadOption: an unknown task or backend, or something else than a TCI.
    """
    b = backends.get(backend)
    if not isinstance(run_or_result, xr.Dataset) or not {"tci", "relative"} <= set(run_or_result):
        raise BadOption("cannot plot this: it holds no TCI", fix="give tci(joint, single)")
    data = run_or_result.sel(task=inputs.choose_tasks(run_or_result, tasks))
    known = data["relative"].notnull().any([dim for dim in data["relative"].dims if dim in ("run", "epoch")])
    shown = [
        (str(task), str(metric))
        for task in data["task"].values
        for metric in data["metric"].values
        if bool(known.sel(task=task, metric=metric))
    ]
    if not shown:
        raise NothingRecorded("there is no TCI to plot", fix="choose tasks that were also trained alone")
    words = relabel([task for task, _ in shown], labeller)
    titles = [f"{task}, {metric}" for task, (_, metric) in zip(words, shown, strict=True)]
    if "epoch" in data.dims:
        return _over_epochs(b, data, shown, titles, ax)
    one_each = len(set(words)) == len(words)
    return _at_the_end(b, data, shown, words if one_each else titles, ax, "; ".join(titles) if one_each else "")


def _at_the_end(
    b: Backend, data: xr.Dataset, shown: list[tuple[str, str]], titles: list[str], ax: Any, metrics: str
) -> Plot:
    groups = []
    for task, metric in shown:
        one = data.sel(task=task, metric=metric)
        scale = 100 * float(one["relative"] / one["tci"]) if float(one["tci"]) else np.nan
        limits = (100 * float(one[f"relative_{side}"]) for side in ("low", "high"))
        groups.append(Dots(one["tci_by_run"].to_numpy() * scale, 100 * float(one["relative"]), *limits))
    level = float(data.attrs.get("level", 0.95))
    several = data.sizes["run"] > 1
    note = joined(
        "TCI / |score alone|, with the sign that makes more worse.",
        f"Scores: {metrics}." if metrics else "",
        f"Bar: {100 * level:g} % interval of the mean." if several else "One joint run: no interval.",
    )
    entries = [Entry("each run", TASKS[0], marker="o"), Entry("mean", INK, line=True, width=1.4)]
    entries.append(Entry(_ALONE, INK, line=True, dashes="--", width=0.7))
    names, upright, below = column_names(b, titles, 2.9 / len(shown), longest=1.2, spare=0.05)
    sheet = sheets.panels(b, [""], sheets.Around(entries, note, y_label=_LABEL, left=0.42), ax, under=below)
    (axes,) = sheet.axes
    draw(b, axes, groups, names, upright=upright, zero=True)
    b.reference(axes, 0.0, colour=INK, label="alone")
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _over_epochs(b: Backend, data: xr.Dataset, shown: list[tuple[str, str]], titles: list[str], ax: Any) -> Plot:
    several = data.sizes["run"] > 1
    note = "TCI / |score alone at that epoch|, with the sign that makes more worse."
    entries = [Entry("mean over runs" if several else "TCI", TASKS[0], line=True)]
    entries += [Entry("each run", "#a6cde4", line=True)] if several else []
    entries.append(Entry(_ALONE, INK, line=True, dashes="--", width=0.7))
    sheet = sheets.panels(b, titles, sheets.Around(entries, note, "epoch", _LABEL), ax, own_y=0.42, most=4)
    x = data["epoch"].values.astype(float)
    limits = series.span(x)
    ticks = series.nice_ticks(*limits, 5, whole=True)
    for target, (task, metric), under in zip(sheet.axes, shown, sheet.bottom, strict=True):
        values = 100 * data["relative"].sel(task=task, metric=metric).transpose("run", "epoch").to_numpy()
        known = values[np.isfinite(values)]
        low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
        pad = 0.06 * (high - low) or 1.0
        places = series.nice_ticks(low - pad, high + pad, 4)
        b.axis(target, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if under else [])
        b.axis(target, "y", limits=(low - pad, high + pad), ticks=places, labels=series.numbers(places))
        there = np.isfinite(values).any(axis=0)
        mean = np.full(len(x), np.nan)
        mean[there] = np.nanmean(values[:, there], axis=0)
        for row in values if several else ():
            b.line(target, x, row, colour=TASKS[0], alpha=0.35, width=0.6, label="run")
        b.line(target, x, mean, colour=TASKS[0], label="mean")
        alone = series.lone(mean)
        if alone.any():
            b.line(target, x[alone], mean[alone], colour=TASKS[0], marker=True, label="single")
        b.reference(target, 0.0, colour=INK, label="alone")
    return Plot(sheet.figures, sheet.axes, data, note, b)
