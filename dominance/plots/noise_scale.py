"""How much noise a batch puts into the gradient of each task: gradient noise scale by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dominance.analyse.noise_scale import noise_scale
from dominance.errors import NothingRecorded
from dominance.plots import backends, cell_pages, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import INK, SEQUENTIAL, points_of
from dominance.plots.result import Plot

MOST_POINTS = 4
"""With more tasks than this, a table of cells with numbers is read more easily than points."""


@backends.themed
def plot_noise_scale(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Noise over signal of each task's gradient in each shared layer, in batches of the size that was used.

    Points with 95 % intervals on a logarithmic axis, whose end stands for infinity, for up to four tasks; a table of
    numbers for more. The ratio is infinite where the estimate of the signal is not above zero.

    Args:
        run_or_result: an open run, or the result of ``noise_scale``.
        tasks: names of the tasks to show; default all.
        layers: None or "each" for all, "all shared" among them; a glob, or names.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no step, no window, or no gradient that is not zero.
        BadOption: an unknown task, layer or backend, or a result of several runs.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "snr_se", noise_scale))
    chosen = inputs.choose_tasks(data, tasks)
    known = inputs.known_layers(data["snr"].fillna(np.inf).where(data["snr"].notnull()).clip(max=1e300))
    if not known:
        raise NothingRecorded("no task has a gradient in a shared layer", fix="record a model with shared layers")
    names, left_out = inputs.choose_layers(known, layers or "each")
    data = data.sel(layer=names, task=chosen)
    kept = ["signal_sq", "noise_sq", "noise_scale", "snr", "snr_se"]
    data = data[kept].drop_dims("window", errors="ignore")
    scale, low, high = (values.transpose("layer", "task").values for values in _interval(data))
    rows, columns = relabel(names, labeller), relabel(chosen, labeller)
    window = data.attrs.get("window")
    note = joined(
        "Noise scale: noise over signal of a task's gradient, in batches of the size used; above 1 the noise of a "
        "batch outweighs the signal.",
        f"Estimated within windows of {window} recorded steps." if window else "",
        left_out,
    )
    if len(columns) > MOST_POINTS and ax is None:
        return _table(b, data, scale, rows, columns, note)
    looks = points_of(len(columns))
    entries = [Entry(name, colour, marker=mark) for name, (colour, mark) in zip(columns, looks, strict=True)]
    limits = _limits(scale, low, high)
    note = joined(note, "Lines: 95 % intervals from the spread over windows. At ∞ there is no signal to be seen.")
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        _points(b, axes, scale, low, high, looks, limits)
        cell_pages.names_down(b, axes, rows)
        b.axis_label(axes, "x", "noise scale (batches)")
        b.legend(axes, entries)
        return Plot.on(axes, data, note, b)
    entries.append(Entry("1: as much noise as signal", INK, line=True, dashes="--", width=0.7))
    around = sheets.Around(entries, note, "noise scale (batches)")
    high_row = 0.08 + 0.075 * len(columns)
    pages = cell_pages.heat(b, rows, ["scale"], around, body=2.8, bar_space=0.0, cell_height=(0.16, high_row))
    for page in pages:
        part = slice(page.rows.start, page.rows.stop)
        _points(b, page.axes, scale[part], low[part], high[part], looks, limits)
        cell_pages.names_down(b, page.axes, page.row_names)
    return Plot.of_pages(pages, data, note, b)


def _interval(data: Any) -> tuple[Any, Any, Any]:
    """noise_scale, and its 95 % interval: the inverse of that of the signal-to-noise ratio, which is nearly normal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = data["signal_sq"] / data["noise_sq"]
        low, high = (1 / (ratio + sign * 1.96 * data["snr_se"]).clip(min=0) for sign in (1, -1))
    return data["noise_scale"], low, high


def _limits(scale: Any, low: Any, high: Any) -> tuple[float, float]:
    """Whole decades around all that is finite, and half a one before the end, which stands for infinity."""
    values = np.concatenate([each[np.isfinite(each) & (each > 0)] for each in (scale, low)])
    values = np.append(values, 1.0)
    above = high[np.isfinite(high)]
    top = max(float(values.max()), float(np.min([above.max(initial=0.0), 30 * values.max()])))
    bottom = max(float(values.min()), 1e-6 * top)
    return 10 ** np.floor(np.log10(bottom / 1.1)), 10 ** (np.ceil(np.log10(top * 1.1)) + 0.5)


def _points(
    b: Backend,
    axes: Any,
    scale: Any,
    low: Any,
    high: Any,
    looks: Sequence[tuple[str, str]],
    limits: tuple[float, float],
) -> None:
    """One row a layer, the tasks beside each other within it."""
    rows, count = scale.shape
    b.line(axes, [1, 1], [-0.5, rows - 0.5], colour=INK, dashes="--", width=0.7, label="as much noise as signal")
    end = limits[1]
    ticks = series.log_ticks(limits[0], 0.9 * end, 5)
    labels = [*(series.number(tick) for tick in ticks), "∞"]
    b.axis(axes, "x", limits=limits, ticks=[*ticks, end], labels=labels, log=True)
    for k, (colour, mark) in enumerate(looks):
        place = np.arange(rows) + (k - (count - 1) / 2) * min(0.26, 0.8 / count)
        for row, y in enumerate(place):
            ends = np.clip([low[row, k], high[row, k]], *limits)
            if np.isfinite(ends).all() and not np.isnan(scale[row, k]):
                b.line(axes, ends, [y, y], colour=colour, width=0.8, label="interval")
        inside = ~np.isnan(scale[:, k])
        b.line(axes, np.minimum(scale[inside, k], end), place[inside], colour=colour, marker=mark, label="noise scale")


def _table(b: Backend, data: Any, scale: Any, rows: list[str], columns: list[str], note: str) -> Plot:
    """A table of numbers, coloured by decades."""
    low, high = (float(np.log10(limit)) for limit in _limits(scale, scale, scale))
    with np.errstate(divide="ignore"):
        shade = np.clip(np.log10(scale), low, high)
    ticks = [(low, series.number(10**low)), (high, series.number(10**high))]
    figures, drawn = [], []
    note = joined(note, "∞: no signal to be seen.")
    for page in cell_pages.heat(b, rows, columns, sheets.Around((), note)):
        at = np.s_[page.rows.start : page.rows.stop, page.columns.start : page.columns.stop]
        texts = [["" if np.isnan(v) else "∞" if np.isinf(v) else series.number(v) for v in row] for row in scale[at]]
        wide = page.cell[0] > 0.4
        b.cells(page.axes, shade[at], colours=SEQUENTIAL, low=low, high=high, texts=texts if wide else None)
        cell_pages.names_on_sides(b, page)
        cell_pages.colour_bar(b, page.bar, SEQUENTIAL, low, high, ticks)
        figures.append(page.figure)
        drawn.append(page.axes)
    return Plot(figures, np.array(drawn, dtype=object), data, note, b)
