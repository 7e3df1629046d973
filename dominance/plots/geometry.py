"""How the tasks' gradients lie to each other over training: angles, lengths, conditioning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.geometry import geometry
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, fit, relabel
from dominance.plots.palette import GREY, INK, TASKS, lines_of
from dominance.plots.result import Plot

MOST_LINES = len(TASKS)
_FIX_WHOLE = 'pass layers="each", or the run itself, or geometry(run, by="all")'


@dataclass(frozen=True)
class _Drawn:
    """Places along the steps; of each measure the values there, (layer, pair, place), and the limits of its axis."""

    x: Any
    values: dict[str, Any]
    limits: dict[str, Any]


@dataclass(frozen=True)
class _Measure:
    name: str
    words: str
    short: str
    of_pairs: bool
    limits: tuple[float, float] | None
    """None: a logarithmic axis to fit."""
    mark: float | None


_MEASURES = (
    _Measure("cosine", "cosine", "cosine", True, (-1.0, 1.0), 0.0),
    _Measure("magnitude_similarity", "magnitude similarity", "magnitudes", True, (0.0, 1.0), None),
    _Measure("curvature_bound", "curvature bound", "curvature bound", True, None, 1.0),
    _Measure("condition_number", "condition number", "condition", False, None, None),
)


@backends.themed
def plot_geometry(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Cosine, magnitude similarity, curvature bound and condition number over training steps.

    A line for each pair of tasks, each a mean over a window of steps; the median and the range of the pairs when there
    are more than seven. The last two are on logarithmic axes, and averaged on them. The condition number is that of
    all tasks' gradients.

    Args:
        run_or_result: an open run, or the result of ``geometry``.
        tasks: show the pairs among these tasks; default all.
        layers: None for the whole shared trunk, a panel for each measure; "each", a glob or names for a table with a
            row for each layer.
        ax: axes to draw into: four, or four for each layer.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no step, fewer than two tasks, or no pair with two gradients at the same step.
        BadOption: an unknown task, layer or backend, or a result of several runs.
    """
    b = backends.get(backend)
    by = "all" if layers is None else "layer"
    data = inputs.one_run(inputs.resolve(run_or_result, "magnitude_similarity", lambda run: geometry(run, by=by)))
    data, chosen, left_out = inputs.two_by_two(data, "cosine", tasks, layers, what="angles are between", fix=_FIX_WHOLE)
    first, second = np.array(list(combinations(range(len(chosen)), 2))).T
    x = data["step"].values.astype(float)
    window = series.window_of(len(x))
    drawn = {}
    for measure in _MEASURES:
        values = data[measure.name].transpose("layer", ..., "step").values
        # (layer, pair, step)
        values = values[:, first, second] if measure.of_pairs else values[:, None]
        place, values = series.opened(x, values, window)
        drawn[measure.name] = _smooth(values, window, log=measure.limits is None)
    names = fit(relabel(chosen, labeller), 0.8, b, sheets.SMALL)
    words = [f"{names[i]} × {names[j]}" for i, j in zip(first, second, strict=True)]
    many = len(words) > MOST_LINES
    if many:
        entries = [Entry("median of the pairs", TASKS[0], line=True), Entry("range of the pairs", "#a6cde4")]
    else:
        looks = zip(words, lines_of(len(words)), strict=True)
        entries = [Entry(word, colour, line=True, dashes=dashes) for word, (colour, dashes) in looks]
    entries.append(Entry("all tasks", INK, line=True))
    limits = {measure.name: measure.limits or _decades(drawn[measure.name]) for measure in _MEASURES}
    shown = _Drawn(place, drawn, limits)
    infinite = int(
        np.isinf(data["condition_number"].values).any(axis=data["condition_number"].dims.index("layer")).sum()
    )
    note = joined(
        f"Means over {window} recorded steps." if window > 1 else "",
        "Condition number of all tasks' gradients.",
        f"Infinite at {infinite} steps, which are left out." if infinite else "",
        left_out,
    )
    if layers is None or ax is not None:
        return _panels(b, data, shown, entries, note, ax)
    return _table(b, data, shown, entries, note, relabel(data["layer"].values.tolist(), labeller))


def _panels(b: Backend, data: xr.Dataset, drawn: _Drawn, entries: list[Entry], note: str, ax: Any) -> Plot:
    """A panel for each measure, of each layer."""
    layers = data["layer"].values.tolist()
    places = [(layer, measure) for layer in range(len(layers)) for measure in _MEASURES]
    titles = [measure.words + (f", {layers[layer]}" if len(layers) > 1 else "") for layer, measure in places]
    around = sheets.Around(entries, note, "training step")
    sheet = sheets.panels(b, titles, around, ax, own_y=0.34, height=1.05, most=4)
    span = inputs.span(data)
    ticks = series.nice_ticks(*span, 3, whole=True)
    for target, (layer, measure) in zip(sheet.axes, places, strict=True):
        b.axis(target, "x", limits=span, ticks=ticks, labels=series.numbers(ticks))
        places_y, labels = _ticks(measure, drawn.limits[measure.name])
        log = measure.limits is None
        b.axis(target, "y", limits=drawn.limits[measure.name], ticks=places_y, labels=labels, log=log)
        _lines(b, target, drawn.x, drawn.values[measure.name][layer], measure)
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _table(b: Backend, data: xr.Dataset, drawn: _Drawn, entries: list[Entry], note: str, rows: Any) -> Plot:
    """A row for each layer, a column for each measure, whose scale stands in its title."""
    columns = []
    for measure in _MEASURES:
        low, high = (series.number(limit).replace("-", "−") for limit in drawn.limits[measure.name])
        columns.append(f"{measure.short}, {low} to {high}")
    sheet = sheets.table(b, rows, columns, sheets.Around(entries, joined(note, "Curvature and condition: log scales.")))
    span = inputs.span(data)
    ticks = series.nice_ticks(span[0], span[0] + 0.8 * (span[1] - span[0]), 3, whole=True)
    for place in np.ndindex(*sheet.axes.shape):
        target, measure = sheet.axes[place], _MEASURES[place[1]]
        under = bool(sheet.bottom[place])
        b.axis(target, "x", limits=span, ticks=ticks if under else [], labels=series.numbers(ticks) if under else [])
        b.axis(target, "y", limits=drawn.limits[measure.name], log=measure.limits is None)
        _lines(b, target, drawn.x, drawn.values[measure.name][place[0]], measure)
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _lines(b: Backend, axes: Any, x: Any, values: Any, measure: _Measure) -> None:
    """values: (pair, step)."""
    kept = series.thin(len(x), 300)
    if measure.mark is not None:
        b.reference(axes, measure.mark, colour=GREY, label="mark")
    if len(values) > MOST_LINES:
        known = np.where(np.isfinite(values).any(axis=0), values, 0.0)  # of columns without any, no median
        low, middle, high = np.nanmin(known, axis=0), np.nanmedian(known, axis=0), np.nanmax(known, axis=0)
        gone = ~np.isfinite(values).any(axis=0)
        low, middle, high = (np.where(gone, np.nan, each) for each in (low, middle, high))
        b.band(axes, x[kept], low[kept], high[kept], colour=TASKS[0], alpha=0.3)
        b.line(axes, x[kept], middle[kept], colour=TASKS[0], label="median")
        return
    for i, row in enumerate(values):
        colour, dashes = lines_of(len(values))[i] if measure.of_pairs else (INK, "-")
        b.line(axes, x[kept], row[kept], colour=colour, dashes=dashes, label=measure.name)
        alone = series.lone(row)
        if alone.any():
            b.line(axes, x[alone], row[alone], colour=colour, marker=True, label="single")


def _smooth(values: Any, window: int, *, log: bool) -> Any:
    """(layer, pair, step) means over a window, of logarithms where they are drawn on such an axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log10(values) if log else values
        flat = scaled.reshape(-1, scaled.shape[-1])
        smooth = np.stack([series.smooth(row, window) for row in flat]).reshape(scaled.shape)
        return 10.0**smooth if log else smooth


def _decades(values: Any) -> tuple[float, float]:
    """A logarithmic axis for these values, between round numbers at least a factor of 5 apart."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.1, 10.0
    low, high = float(known.min()) / 1.05, float(known.max()) * 1.05
    round_ones = [round_one for power in range(-40, 41) for round_one in _round(power)]
    below = max((one for one in round_ones if one <= low), default=low)
    above = min((one for one in round_ones if one >= max(high, 4.9 * below)), default=high)
    return below, above


def _round(power: int) -> list[float]:
    """1, 2 and 5 times a power of ten, as the decimals are written."""
    return [float(f"{digit}e{power}") for digit in (1, 2, 5)]


def _ticks(measure: _Measure, limits: tuple[float, float]) -> tuple[list[float], list[str]]:
    if measure.limits is None:
        ticks = series.log_ticks(*limits, 4)
        if len(ticks) < 3 and limits[1] < 200 * limits[0]:
            ticks = [tick for power in range(-40, 41) for tick in _round(power) if limits[0] <= tick <= limits[1]]
        return ticks, [series.number(tick) for tick in ticks]
    ticks = [-1.0, 0.0, 1.0] if measure.limits[0] < 0 else [0.0, 0.5, 1.0]
    return ticks, series.numbers(ticks)
