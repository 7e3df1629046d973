"""Noise on the parameters that a task moves most: what it changes for whom (AdaTask, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.noise import noise_importance
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, cell_pages, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.cell_table import cell_table
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, fit, relabel
from dominance.plots.palette import DIVERGING, INK, points_of
from dominance.plots.result import Plot

DASHES = {"top": "-", "random": "--", "least": ":"}
WORDS = {"top": "its highest rAU", "random": "as many at random", "least": "its lowest rAU"}


@backends.themed
def plot_noise_importance(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Relative change of every task's main metric: over the spread of the noise, and over the share of parameters.

    A row of panels for each owner, a line for each task: where the parameters are the owner's, its line moves most.
    Solid: noise on the parameters with the owner's highest rAU, with a band for the 95 % interval of the mean; dashed
    and dotted: the controls. Made by layer, the result is a table instead: how much more noise on the owner's top
    parameters of a layer changes a task's metric than noise on as many random ones.

    Args:
        run_or_result: an open run with a stored noise probe, or the result of ``noise_importance``.
        tasks: owners to show; default all.
        layers: with a result by layer: "each" or None for all, a glob or names.
        ax: axes to draw into: one for each panel, or one for the table.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no noise probe is stored in the run, or no metric could be compared.
        BadOption: an unknown task, layer or backend, layers of a result without, or a result of several runs.
    """
    b = backends.get(backend)
    by_layer = layers is not None
    data = inputs.one_run(
        inputs.resolve(run_or_result, "mean_change", lambda run: noise_importance(run, by_layer=by_layer))
    )
    owners = [str(name) for name in data["owner"].values]
    chosen = owners if tasks is None else [tasks] if isinstance(tasks, str) else [str(name) for name in tasks]
    for name in chosen:
        if name not in owners:
            raise BadOption(f"no owner {name!r}", fix=f"choose from {', '.join(owners)}")
    data = data.sel(owner=chosen).load()
    main = {task: metric for task, metric in data.attrs["main_metric"].items() if _known(data, task, metric)}
    if not main:
        raise NothingRecorded("no metric could be compared with the one without noise", fix="see the probe's baseline")
    if "layer" in data.dims:
        return _by_layer(b, data, main, layers or "each", labeller, ax)
    if by_layer:
        raise BadOption("this result is not by layer", fix="make it with noise_importance(..., by_layer=True)")
    return _lines(b, data, main, labeller, ax)


def _known(data: xr.Dataset, task: str, metric: str) -> bool:
    return bool(np.isfinite(data["mean_change"].sel(task=task, metric=metric)).any())


@dataclass(frozen=True)
class _Sweep:
    """Settings along one argument."""

    places: NDArray[np.int64]
    x: NDArray[np.float64]
    title: str
    label: str


def _sweeps(data: xr.Dataset) -> list[_Sweep]:
    """Along each spread with the first fraction, and along the fractions with the first spread."""
    fraction, spread = data["fraction"].values, data["spread"].values.astype(str)
    found = []
    first = fraction == fraction[0]
    for given in dict.fromkeys(spread[first].tolist()):
        places = np.flatnonzero(first & (spread == given))
        if len(places) > 1:
            x = data[given].values[places]
            found.append(_Sweep(places, x, f"top {100 * fraction[0]:g} %", f"{given} of the noise"))
    value = data[spread[0]].values
    places = np.flatnonzero((spread == spread[0]) & np.isclose(value, value[0]))
    if len(places) > 1 or not found:
        x, title = 100 * fraction[places], f"{spread[0]} {value[0]:g}"
        found.append(_Sweep(places, x, title, "parameters with noise, %"))
    return [_Sweep(s.places[np.argsort(s.x)], np.sort(s.x), s.title, s.label) for s in found]


def _lines(b: Backend, data: xr.Dataset, main: dict[str, str], labeller: Labeller | None, ax: Any) -> Plot:
    sweeps = _sweeps(data)
    owners = [str(name) for name in data["owner"].values]
    named = fit(relabel(owners, labeller), 1.5, b, sheets.NORMAL)
    looks = dict(zip(map(str, data["task"].values), points_of(data.sizes["task"]), strict=True))
    words = dict(zip(main, relabel(list(main), labeller), strict=True))
    entries = [
        Entry(f"{words[task]}: {metric}", looks[task][0], line=True, marker=looks[task][1])
        for task, metric in main.items()
    ]
    entries += [
        Entry(f"noise on {WORDS[name]}", INK, line=True, dashes=DASHES[name]) for name in data["selection"].values
    ]
    titles = [f"owner {name}, {sweep.title}" for name in named for sweep in sweeps]
    repeats = data.sizes["repeat"]
    note = joined(
        "Relative change (M' - M) / |M| of each task's metric when noise is added to shared parameters: mean of "
        f"{repeats} {'draw' if repeats == 1 else 'draws'} of the noise.",
        "Band: 95 % interval of the solid line." if repeats > 1 else "",
        _sample(data),
        _without(data, main, labeller),
    )
    if ax is None:
        axis = "left to right: " if len(sweeps) > 1 else ""
        around = sheets.Around(entries, note, axis + "; ".join(s.label for s in sweeps), "relative change, %")
        sheet = sheets.grid(b, titles, around, most=len(sweeps), own_y=0.42, height=1.2)
        figures, axes, bottom = sheet.figures, sheet.axes, sheet.bottom
    else:
        axes = inputs.given_axes(ax, len(titles))
        figures, bottom = [b.figure_of(axes[0])], np.ones(len(titles), dtype=bool)
        for place, (target, title) in enumerate(zip(axes, titles, strict=True)):
            b.title(target, title)
            b.axis_label(target, "x", sweeps[place % len(sweeps)].label)
            b.axis_label(target, "y", "relative change, %")
    for place, target in enumerate(axes):
        of_owner = data.isel(owner=place // len(sweeps))
        _panel(b, target, of_owner, sweeps[place % len(sweeps)], main, looks, under=bool(bottom[place]))
    return Plot(figures, axes, data, note, b)


def _panel(
    b: Backend,
    axes: Any,
    data: xr.Dataset,
    sweep: _Sweep,
    main: dict[str, str],
    looks: dict[str, tuple[str, str]],
    *,
    under: bool,
) -> None:
    low, high = _limits(data, sweep, main)
    pad = 0.06 * (high - low) or 1.0
    ticks = series.nice_ticks(low - pad, high + pad, 4)
    b.axis(axes, "y", limits=(low - pad, high + pad), ticks=ticks, labels=series.numbers(ticks))
    side = 0.06 * (sweep.x[-1] - sweep.x[0]) or 0.5 * abs(sweep.x[0]) or 1.0
    b.axis(
        axes,
        "x",
        limits=(sweep.x[0] - side, sweep.x[-1] + side),
        ticks=sweep.x.tolist(),
        labels=[f"{x:g}" for x in sweep.x] if under else [],
    )
    b.reference(axes, 0.0, colour=INK, dashes="-", width=0.4)
    for task, metric in main.items():
        colour, mark = looks[task]
        part = data.sel(task=task, metric=metric).isel(setting=sweep.places)
        top = part.sel(selection="top")
        if np.isfinite(top["lower"]).all():
            limits = 100 * top["lower"].values, 100 * top["upper"].values
            b.band(axes, sweep.x, *limits, colour=colour, alpha=0.2)
        for selection, dashes in reversed(DASHES.items()):
            if selection in part["selection"]:
                y = 100 * part["mean_change"].sel(selection=selection).values
                b.line(axes, sweep.x, y, colour=colour, dashes=dashes, width=1.2 if dashes == "-" else 0.9)
                b.line(axes, sweep.x, y, colour=colour, marker=mark)


def _limits(data: xr.Dataset, sweep: _Sweep, main: dict[str, str]) -> tuple[float, float]:
    """Lowest and highest value that is drawn; 0 is inside."""
    part = data.isel(setting=sweep.places)
    seen = [np.zeros(1)]
    for task, metric in main.items():
        of_task = part.sel(task=task, metric=metric)
        top = of_task.sel(selection="top")
        seen += [of_task["mean_change"].values.ravel(), top["lower"].values, top["upper"].values]
    values = 100 * np.concatenate(seen)
    values = values[np.isfinite(values)]
    return float(values.min()), float(values.max())


def _by_layer(
    b: Backend, data: xr.Dataset, main: dict[str, str], layers: str | Sequence[str], labeller: Labeller | None, ax: Any
) -> Plot:
    names, left_out = inputs.choose_layers([str(name) for name in data["layer"].values], layers)
    data = data.sel(layer=names)
    owners = [str(name) for name in data["owner"].values]
    every = list(dict.fromkeys([*owners, *main]))
    called = dict(
        zip(every, fit(relabel(every, labeller), cell_pages.UPRIGHT / 2 - 0.15, b, sheets.SMALL), strict=True)
    )
    setting = data.isel(setting=0)
    more = setting["mean_change"].sel(selection="top") - setting["mean_change"].sel(selection="random")
    columns = [(owner, task) for owner in owners for task in main]
    values = 100 * np.stack(
        [more.sel(owner=owner, task=task, metric=main[task]).values for owner, task in columns], axis=1
    )
    words = [f"{called[owner]} → {called[task]}" for owner, task in columns]
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    most = most or 1.0
    note = joined(
        "a → b: how much more noise on the parameters of highest rAU of a changes the metric of b "
        f"({_metrics(main)}) than noise on as many random ones, in points of relative change; "
        f"{setting['setting'].item()}.",
        left_out,
        _without(data, main, labeller),
    )
    rows = relabel(names, labeller)
    ends = [(-most, series.number(-most)), (0, "0"), (most, f"{series.number(most)} points")]
    return cell_table(
        b, values, rows, words, ax=ax, data=data, note=note, colours=DIVERGING, ends=ends, number=lambda v: f"{v:.3g}"
    )


def _metrics(main: dict[str, str]) -> str:
    return ", ".join(dict.fromkeys(main.values()))


def _sample(data: xr.Dataset) -> str:
    kept, shared = data.attrs.get("coords_kept"), data.attrs.get("coords_shared")
    if kept is None or shared is None or kept >= shared:
        return ""
    return f"Chosen among the {kept:,} of {shared:,} shared parameters that the run kept."


def _without(data: xr.Dataset, main: dict[str, str], labeller: Labeller | None) -> str:
    missing = [name for name in map(str, data["task"].values) if name not in main]
    return f"No metric of {', '.join(relabel(missing, labeller))}." if missing else ""
