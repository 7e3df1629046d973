"""Phases of a training: the tasks' shares of the steps and their conflict, with the levels between changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dominance.analyse.phases import phases
from dominance.errors import NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import GREY, INK, of_tasks
from dominance.plots.result import Plot
from dominance.plots.series import thin

_DASHES = ("-", "--", ":", "-.")
_MOST_POINTS = 400
"""Of the single steps, which are drawn pale."""


@backends.themed
def plot_phases(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Two panels for each layer: each task's share of the squared step, and the GCD of each pair; changes are upright.

    Pale are single steps, dark the means of the phases that they are cut into. See ``phases``.

    Args:
        run_or_result: an open run, or the result of ``phases``.
        tasks: only these.
        layers: None for the whole trunk; "each", a glob, or names.
        ax: axes to draw into: two for each layer.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no usable step, no shared layer, or no step that moved one.
        BadOption: not a run, an unknown task, layer or backend.
    """
    b = backends.get(backend)
    by = "all" if layers is None else "layer"
    data = inputs.one_run(inputs.resolve(run_or_result, "level", lambda run: phases(run, by=by)))
    chosen = inputs.choose_tasks(data, tasks)
    if layers is None:
        data = inputs.whole_trunk(data, 'pass layers="each", or the run itself, or phases(run)')
    known = inputs.known_layers(data["share"])
    if not known:
        raise NothingRecorded("no step moved a shared layer", fix="record a model with shared layers")
    names, left_out = inputs.choose_layers(known, layers or "each")
    shown, words = relabel(names, labeller), relabel(chosen, labeller)
    colours, _ = of_tasks(len(chosen))
    entries = [Entry(word, colour, line=True) for word, colour in zip(words, colours, strict=True)]
    pairs = list(combinations(range(len(chosen)), 2))
    entries += [
        Entry(f"{words[i]} × {words[j]}", INK, line=True, dashes=_DASHES[number % len(_DASHES)])
        for number, (i, j) in enumerate(pairs)
    ]
    entries.append(Entry("change", GREY, line=True, dashes="--", width=0.7))
    note = joined(
        f"Left the tasks' shares of the squared step, right GCD; changes of more than {data.attrs['least']:g} of "
        "a share.",
        inputs.steps_left_out(data.attrs),
        left_out,
    )
    titles = [f"{layer}: {what}" for layer in shown for what in ("share", "GCD")]
    sheet = sheets.panels(b, titles, sheets.Around(entries, note, "training step"), ax, most=2, own_y=0.36, legend=True)
    limits = inputs.span(data)
    ticks = series.nice_ticks(*limits, 5, whole=True)
    x = data["step"].values.astype(float)
    few = thin(len(x), _MOST_POINTS)
    for place, layer in enumerate(names):
        one = data.sel(layer=layer)
        panels = sheet.axes[2 * place : 2 * place + 2]
        for number, axes in enumerate(panels):
            last = bool(sheet.bottom[2 * place + number])
            b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if last else [])
        for task, colour in zip(chosen, colours, strict=True):
            _lines(b, panels[0], x, one["share"].sel(task=task).values, one["level"].sel(task=task).values, few, colour)
        for number, (i, j) in enumerate(pairs):
            which = {"task": chosen[i], "task_other": chosen[j]}
            raw, level = (one[name].sel(which).values for name in ("gcd", "gcd_level"))
            _lines(b, panels[1], x, raw, level, few, INK, _DASHES[number % len(_DASHES)])
        b.axis(panels[0], "y", limits=(0, 1), ticks=[0, 0.5, 1], labels=["0", "0.5", "1"])
        b.axis(panels[1], "y", limits=(0, 2), ticks=[0, 1, 2], labels=["0", "1", "2"])
        for axes, measure, top in zip(panels, ("ownership", "conflict"), (1.0, 2.0), strict=True):
            mine = (data["change_layer"].values == layer) & (data["change_measure"].values == measure)
            for step in data["change_at"].values[mine].tolist():
                b.line(axes, [step, step], [0.0, top], colour=GREY, dashes="--", width=0.7, label="change")
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _lines(b: Backend, axes: Any, x: Any, raw: Any, level: Any, few: Any, colour: str, dashes: str = "-") -> None:
    """Single steps, pale, and the levels of the phases, each a line of its own."""
    if not np.isfinite(raw).any():
        return
    b.line(axes, x[few], raw[few], colour=colour, width=0.5, alpha=0.3)
    cut = np.flatnonzero(np.diff(level) != 0) + 1
    steps, heights = np.insert(x, cut, x[cut]), np.insert(level.astype(float), cut, np.nan)
    b.line(axes, steps, heights, colour=colour, width=1.4, dashes=dashes, label="level")
