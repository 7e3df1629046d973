"""How much of the shared parameters each task owns, as lines: what stacked areas of rAU come down to."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.errors import BadOption
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import joined
from dominance.plots.labels import shorten
from dominance.plots.palette import INK, lines_of
from dominance.plots.result import Plot

NOBODY = "no task"


@backends.themed
def plot_owned(data: xr.Dataset, *, backend: str | Any = "matplotlib") -> Plot:
    """A line for each task: the share of parameters in its highest rAU bucket; and one for those that no task owns.

    Unlike areas that are stacked, lines have a common zero, show the spread over seeds, and are told apart in grey. A
    panel for each run, or with several layers a row for each. Above a panel stands the largest share at the end.

    Args:
        data: share ([run,] [seed,] step, layer, task, bucket) of ``rau_buckets``, as shares of 1. Over ``seed`` the
            line is the mean and the band the range.

    Returns:
        Plot; ``data`` holds mean, low and high ([run,] layer, step, owner), owner being a task or ``NOBODY``.

    Raises:
        BadOption: another result, or an unknown backend.
    """
    b = backends.get(backend)
    if "share" not in data or "bucket" not in data["share"].dims:
        raise BadOption("cannot plot this: it holds no rAU buckets", fix="give rau_buckets(run)")
    edge = 100 * float(data["lower"].values[-1])
    seeds = data.sizes.get("seed", 1)
    found = _owned(data)
    owners = [str(name) for name in found["owner"].values]
    looks = dict(zip(owners, [*lines_of(len(owners) - 1), (INK, "-")], strict=True))
    widths = {name: 0.6 if name == NOBODY else 1.1 for name in owners}
    entries = [
        Entry(f"owned by {name}", colour, line=True, dashes=dashes, width=widths[name])
        for name, (colour, dashes) in looks.items()
    ]
    kept = series.thin(found.sizes["step"], 240)
    note = joined(
        f"Owned: rAU above {edge:g} %.",
        f"Line: mean over {seeds} seeds; band: their range." if seeds > 1 else "",
        inputs.steps_drawn(len(kept), data),
        inputs.steps_left_out(data.attrs),
    )
    sheet, label = _panels(b, found, sheets.Around(entries, note, "training step", "parameters (%)"))
    table, limits = sheet.axes.ndim == 2, inputs.span(data)
    x = found["step"].values.astype(float)[kept]
    for place in np.ndindex(*sheet.axes.shape):
        axes = sheet.axes[place]
        one = found.isel(layer=place[0], run=place[1]) if table else found.isel(layer=0, run=place[0])
        for name, (colour, dashes) in looks.items():
            low, mean, high = (100 * one[part].sel(owner=name).values[kept] for part in ("low", "mean", "high"))
            if seeds > 1:
                b.band(axes, x, low, high, colour=colour, alpha=0.2, label=name)
            b.line(axes, x, mean, colour=colour, dashes=dashes, width=widths[name], label=name)
            if len(kept) == 1:
                b.line(axes, x, mean, colour=colour, marker=True, label=name)
        _axes(b, sheet, place, limits)
    if label:
        found = found.squeeze("run", drop=True)
    return Plot(sheet.figures, sheet.axes, found, note, b)


def _axes(b: Backend, sheet: sheets.Sheet, place: tuple[int, ...], limits: tuple[float, float]) -> None:
    """Limits and ticks of a panel: words at the edges of the sheet alone."""
    axes, table = sheet.axes[place], sheet.axes.ndim == 2
    end = limits[0] + (0.8 if table else 1.0) * (limits[1] - limits[0])
    ticks = series.nice_ticks(limits[0], end, 2 if table else 6 if len(sheet.axes) == 1 else 3, whole=True)
    b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if sheet.bottom[place] else [])
    last, top = bool(sheet.last[place]), table and (place[0] == 0 or bool(sheet.bottom[place[0] - 1, place[1]]))
    percents, side = ([0, 100], "right") if table else ([0, 50, 100], "")
    words = [str(percent) for percent in percents] if (last and top if table else sheet.first[place]) else []
    b.axis(axes, "y", limits=(-5, 105), ticks=percents if last or not table else [], labels=words, side=side)


def _owned(data: xr.Dataset) -> xr.Dataset:
    """mean, low, high (run, layer, step, owner) over seeds."""
    top = data["share"].isel(bucket=-1, drop=True)
    nobody = (1 - top.sum("task", skipna=False)).clip(min=0).expand_dims(task=np.array([NOBODY], dtype=object))
    each = xr.concat([top.assign_coords(task=top["task"].astype(object)), nobody], dim="task", coords="minimal",
                     compat="override", join="exact").rename(task="owner")  # fmt: skip
    each = each if "seed" in each.dims else each.expand_dims("seed")
    each = each if "run" in each.dims else each.expand_dims(run=np.array([""], dtype=object))
    over = {"mean": each.mean("seed"), "low": each.min("seed"), "high": each.max("seed")}
    return xr.Dataset({name: values.reset_coords(drop=True) for name, values in over.items()}).transpose(
        "run", "layer", "step", "owner"
    )


def _panels(b: Backend, found: xr.Dataset, around: sheets.Around) -> tuple[sheets.Sheet, bool]:
    """A panel for each run; with several layers a table. Says whether the runs have no names."""
    runs, layers = ([str(name) for name in found[dim].values] for dim in ("run", "layer"))
    if len(layers) > 1:
        return sheets.table(b, layers, runs, around), runs == [""]
    room = sheets.panel_width(len(runs))

    def width(text: str) -> float:
        return float(b.text_width(text, sheets.SMALL))

    ends = [next((words for words in said if width(words) <= room), said[-1]) for said in _ends(found)]
    ends = [shorten(words, room, width) for words in ends]
    if runs == [""]:
        return sheets.grid(b, ends, around), True
    return sheets.grid(b, runs, around, subtitles=ends), False


def _ends(found: xr.Dataset) -> list[list[str]]:
    """For each run: the largest share at its last step, with its range over seeds; then without."""
    out = []
    for run in found["run"].values:
        one = found.sel(run=run).isel(layer=0)
        known = np.flatnonzero(one["mean"].notnull().all("owner").values)
        if not len(known):
            out.append(["no value"])
            continue
        last = one.isel(step=known[-1])
        most = last.isel(owner=int(np.argmax(last["mean"].values)))
        mean, low, high = (100 * float(most[part]) for part in ("mean", "low", "high"))
        short = f"{most['owner'].item()}: {mean:.0f} %"
        out.append([f"{short} ({low:.0f} to {high:.0f})", short] if round(low) != round(high) else [short])
    return out
