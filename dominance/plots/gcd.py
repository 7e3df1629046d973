"""Gradient conflict degree of pairs of tasks: 1 - cosine of their gradients; above 1 they pull against each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.conflict import gcd
from dominance.plots import backends, cell_pages, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.cell_table import MOST_WIDE, cell_table
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, fit, relabel
from dominance.plots.losses import MOST_POINTS, raw_and_smooth
from dominance.plots.palette import DIVERGING, INK, TASKS
from dominance.plots.result import Plot

_FIX_WHOLE = 'pass layers="each", or the run itself, or gcd(run, by="all")'


@backends.themed
def plot_gcd(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
    most: int | None = None,
) -> Plot:
    """GCD of every pair of tasks: over training steps for the whole shared trunk, or its mean for each layer.

    Args:
        run_or_result: an open run, or the result of ``gcd``.
        tasks: show the pairs among these tasks; default all.
        layers: None for lines over training steps, one panel a pair, with the line at 1 above which tasks conflict;
            "each", a glob or names for a table of the mean GCD, a row for each layer and a column for each pair.
        ax: axes to draw into: one for each pair, or one for the table.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.
        most: of more pairs than this, show those with the largest mean; default all.

    Raises:
        NothingRecorded: no step, fewer than two tasks, or no pair with two gradients at the same step.
        BadOption: an unknown task, layer or backend, or a result of several runs.
    """
    b = backends.get(backend)
    by = "all" if layers is None else "layer"
    data = inputs.one_run(inputs.resolve(run_or_result, "gcd", lambda run: gcd(run, by=by)))
    data, chosen, left_out = inputs.two_by_two(data, "gcd", tasks, layers, what="GCD compares", fix=_FIX_WHOLE)
    pairs = list(combinations(range(len(chosen)), 2))
    values = np.stack([data["gcd"].transpose("task", "task_other", "layer", "step").values[i, j] for i, j in pairs])
    if most is not None and len(pairs) > most:
        mean = np.nan_to_num(np.nanmean(np.where(np.isfinite(values).any(), values, 0.0), axis=-1), nan=-1.0).max(
            axis=1
        )
        kept = np.sort(np.argsort(-mean, kind="stable")[:most])
        left_out = joined(f"The {most} pairs of {len(pairs)} that conflict most.", left_out)
        pairs, values = [pairs[i] for i in kept], values[kept]
    room = sheets.panel_width(len(pairs), 4) if layers is None else cell_pages.UPRIGHT
    names = fit(relabel(chosen, labeller), (room - 0.2) / 2, b, sheets.NORMAL)
    words = [f"{names[i]} × {names[j]}" for i, j in pairs]
    if layers is None:
        return _over_steps(b, data, values[:, 0], words, left_out, ax)
    return _by_layer(b, data, values, words, relabel(data["layer"].values.tolist(), labeller), left_out, ax)


def _over_steps(b: Backend, data: xr.Dataset, values: Any, words: list[str], left_out: str, ax: Any) -> Plot:
    """values: (pair, step)."""
    x = data["step"].values.astype(float)
    window = series.window_of(len(x))
    entries = [
        Entry(f"mean over {window} recorded steps" if window > 1 else "GCD", TASKS[0], line=True),
        Entry("1: above it the tasks conflict", INK, line=True, dashes="--", width=0.7),
    ]
    if window > 1:
        pale = f"range within {MOST_POINTS} bins of steps" if len(x) > MOST_POINTS else "each recorded step"
        entries.insert(1, Entry(pale, "#a6cde4", line=len(x) <= MOST_POINTS))
    note = joined("GCD = 1 − cosine of the two tasks' gradients on all shared parameters.", *_notes(data, left_out))
    sheet = sheets.panels(b, words, sheets.Around(entries, note, "training step", "GCD"), ax, most=4)
    limits = inputs.span(data)
    ticks = series.nice_ticks(*limits, 6 if len(words) == 1 else 3, whole=True)
    for i, target in enumerate(sheet.axes):
        b.axis(target, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if sheet.bottom[i] else [])
        b.axis(target, "y", limits=(0, 2), ticks=[0, 1, 2], labels=["0", "1", "2"] if sheet.first[i] else [])
        raw_and_smooth(b, target, x, values[i], window, TASKS[0])
        b.reference(target, 1.0, colour=INK, label="conflict")
        if not np.isfinite(values[i]).any():
            b.text(target, 0.5, 0.75, "no value", horizontal="center", vertical="center")
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _by_layer(
    b: Backend, data: xr.Dataset, values: Any, words: list[str], layers: list[str], left_out: str, ax: Any
) -> Plot:
    """values: (pair, layer, step)."""
    known = np.isfinite(values).any(axis=2)
    mean = np.full(known.shape, np.nan)
    mean[known] = np.nanmean(values[known], axis=-1)
    mean = mean.T
    wide = ax is not None or len(words) <= MOST_WIDE
    note = joined(
        "Mean over the recorded steps of GCD = 1 − cosine of the two tasks' gradients.",
        *_notes(data, left_out),
        "Above 1 the tasks conflict." if wide else "Dots: above 1, the tasks conflict.",
    )
    return cell_table(
        b, mean, layers, words, ax=ax, data=data, note=note, colours=DIVERGING, marks=mean > 1,
        ends=[(0, "0 aligned"), (1, "1"), (2, "2 opposed")], number=lambda v: f"{v:.2f}",
    )  # fmt: skip


def _notes(data: xr.Dataset, left_out: str) -> list[str]:
    recorded, known = data.attrs.get("steps_recorded"), data.attrs.get("steps_with_a_degree")
    fewer = recorded is not None and known is not None and known < recorded
    return [f"{known} of {recorded} recorded steps have one." if fewer else "", left_out]
