"""Task conflict intensity against gradient conflict degree (MoCoGrad, Fig. 2 b-d)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import INK, MARKS, TASKS, TIME
from dominance.plots.result import Plot

_THIRDS = tuple(
    zip(("first third of the epochs", "second", "last"), (TIME[0], TIME[2], TIME[5]), MARKS[:3], strict=True)
)


@backends.themed
def plot_tci_gcd(
    run_or_result: xr.Dataset,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """One panel for each task: its TCI against the conflict of its gradient, a dot a run and epoch.

    Colours say when in training: dots of one colour that rise together are an association, a cloud that only moves from
    colour to colour is a drift. Under each title stand r and, over epochs, r with the epoch held.

    Args:
        run_or_result: the result of ``tci_gcd_correlation``.
        tasks: names of the tasks to show; default all.
        layers: there are none here; only None is possible.
        ax: axes to draw into, one for each task.
        backend: "matplotlib" or "none", or an object with the functions of one.
        labeller: mapping or function from task names to what stands on the plot.

    Raises:
        NothingRecorded: the tasks have no point.
        BadOption: an unknown task or backend, or another result.
    """
    b = backends.get(backend)
    if not isinstance(run_or_result, xr.Dataset) or not {"tci", "gcd", "correlation"} <= set(run_or_result):
        raise BadOption("cannot plot this: it holds no TCI and GCD", fix="give tci_gcd_correlation(study)")
    data = run_or_result
    there = list(dict.fromkeys(map(str, data["task_of"].values)))
    asked = there if tasks is None else inputs.choose_tasks(data, tasks)
    chosen = [task for task in asked if task in there]
    if not chosen:
        raise NothingRecorded("these tasks have no point", fix=f"choose from {', '.join(there)}")
    over_epochs = bool(np.isfinite(data["epoch"]).any())
    note = joined(
        "TCI / |score alone|, positive is worse than alone. GCD with the other tasks on all shared parameters.",
        "r: Pearson; partial: with the epoch held." if over_epochs else "r: Pearson.",
        f"In brackets: {100 * float(data.attrs.get('level', 0.95)):g} % interval ({data.attrs.get('interval', '?')}).",
        "The epochs of a run are not independent." if over_epochs else "",
    )
    entries = [Entry(label, colour, marker=mark) for label, colour, mark in _THIRDS]
    if not over_epochs:
        entries = [Entry("each run", TASKS[0], marker=MARKS[0])]
    entries.append(Entry("above 1 the gradients conflict", INK, line=True, dashes="--", width=0.7))
    titles = relabel(chosen, labeller)
    says = [_words(data.sel(task=task), over_epochs) for task in chosen]
    x_label, y_label = "GCD", "relative TCI (%)"
    around = sheets.Around(entries, note, x_label, y_label)
    sheet = sheets.panels(b, titles, around, ax, subtitles=says, own_y=0.42, most=3, height=1.3)
    of_task = [data.isel(point=np.flatnonzero(data["task_of"].to_numpy() == task)) for task in chosen]
    span = _span(np.append(np.concatenate([part["gcd"].to_numpy() for part in of_task]), 1.0))
    ticks = series.nice_ticks(*span, 4)
    for target, part, under in zip(sheet.axes, of_task, sheet.bottom, strict=True):
        b.axis(target, "x", limits=span, ticks=ticks, labels=series.numbers(ticks) if under else [])
        _panel(b, target, part, over_epochs)
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _panel(b: Backend, axes: Any, data: xr.Dataset, over_epochs: bool) -> None:
    x, y, epoch = data["gcd"].to_numpy(), 100 * data["tci"].to_numpy(), data["epoch"].to_numpy()
    span = _span(y)
    ticks = series.nice_ticks(*span, 4)
    b.axis(axes, "y", limits=span, ticks=ticks, labels=series.numbers(ticks))
    b.line(axes, [1, 1], span, colour=INK, dashes="--", width=0.7, label="conflict")
    if not over_epochs:
        b.line(axes, x, y, colour=TASKS[0], marker=MARKS[0], label="points")
        return
    first, last = float(epoch.min()), float(epoch.max())
    third = np.minimum(((epoch - first) / ((last - first) or 1) * 3).astype(int), 2)
    for number, (label, colour, mark) in enumerate(_THIRDS):
        inside = third == number
        if inside.any():
            b.line(axes, x[inside], y[inside], colour=colour, marker=mark, label=label)


def _span(values: Any) -> tuple[float, float]:
    """Limits of an axis around these values."""
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _words(one: xr.Dataset, over_epochs: bool) -> str:
    """The correlations of a task, in words, the last with its interval: "r 0.42, partial 0.05 [-0.21, 0.30]"."""
    said = []
    for measure, name in (("pearson", "r"), ("partial", "partial"))[: 1 + over_epochs]:
        r = float(one["correlation"].sel(measure=measure))
        said.append(f"{name} {r:.2f}" if np.isfinite(r) else f"{name} unknown")
    low, high = (float(one[key].sel(measure=measure)) for key in ("low", "high"))
    return ", ".join(said) + (f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else "")
