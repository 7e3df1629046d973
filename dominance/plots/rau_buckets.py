"""rAU buckets over training: who owns the shared parameters (the form of AdaTask, AAAI 2023, Fig. 2 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.rau_buckets import rau_buckets
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import GREY, buckets_of, diverging, of_tasks
from dominance.plots.result import Plot

_FIX_WHOLE = 'pass layers="each", or the run itself, or rau_buckets(run, by="all")'


MOST_SIGNS = 4
"""Tasks whose colours stand in the legend; of more, the titles of the panels say whose it is."""


@backends.themed
def plot_rau_buckets(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Stacked areas: the share of shared coordinates in each rAU bucket over training steps.

    In the task's own colour, the same as in other plots: what it owns, rAU in (80, 100] %; grey: what is the others',
    the darker the more; of two tasks, the other one's own colour. Of several runs, vermilion and dark blue. Coordinates
    that no task has moved are in no bucket: their share is written beside the panel.

    Args:
        run_or_result: an open run, or the result of ``rau_buckets``; of several runs (with the dim ``run``) too: then
            each has a panel, or with layers a column, and one task is shown.
        tasks: whose rAU. Default with two tasks: the second, since the first is its mirror image; with more: one panel
            for each.
        layers: None for the whole shared trunk in one panel, "each", a glob, or names for a panel a layer.
        ax: axes to draw into, one for each panel; None makes a figure.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Returns:
        Plot; ``data`` holds share(step, layer, task, bucket) and untouched(step, layer), as shares of 1.

    Raises:
        NothingRecorded: no step, fewer than two tasks, or no coordinate that two tasks share.
        BadOption: an unknown task, layer or backend.
    """
    b = backends.get(backend)
    by = "all" if layers is None else "layer"
    data = inputs.resolve(
        run_or_result, "share", lambda run: rau_buckets(run, by=by, attribution=inputs.attribution(run))
    )
    data = with_edges(data)
    if data.sizes["task"] < 2:
        only = ", ".join(str(name) for name in data["task"].values)
        raise NothingRecorded(f"rAU compares tasks, and this run has one ({only})", fix="record two tasks or more")
    everyone = [str(name) for name in data["task"].values]
    chosen = inputs.choose_tasks(data, tasks)
    if tasks is None and len(chosen) == 2:
        chosen = chosen[1:]
    left_out = ""
    owner = chosen[0]
    if "run" in data.dims:
        if len(chosen) > 1:
            raise BadOption("several runs are shown for one task", fix=f"choose one: tasks={owner!r}")
        # The runs take the place of the tasks, each with a panel or a column of its own.
        data = data.sel(task=owner, drop=True).rename(run="task").assign_attrs(data.attrs, shown=owner)
        chosen = [str(name) for name in data["task"].values]
    if layers is None:
        data = inputs.whole_trunk(data, _FIX_WHOLE).sel(task=chosen)
    else:
        names, left_out = inputs.choose_layers(inputs.known_layers(data["share"]), layers)
        data = data.sel(layer=names, task=chosen)
    if not np.isfinite(data["share"]).any():
        raise NothingRecorded("no shared coordinate was moved by any task", fix="record a model with shared layers")
    shown = _Shown(b, data, relabel(chosen, labeller), relabel(data["layer"].values.tolist(), labeller), everyone)
    shown.owner = relabel([owner], labeller)[0]
    shown.others = " and ".join(relabel([name for name in everyone if name != owner], labeller))
    if ax is not None:
        return shown.onto(ax, left_out)
    if layers is not None and (shown.of_runs or len(chosen) > 1):
        return shown.as_table(left_out)
    return shown.as_grid(left_out, whole=layers is None)


class _Shown:
    """The chosen shares, their words, and how one panel of them is drawn."""

    def __init__(self, b: Backend, data: xr.Dataset, tasks: list[str], layers: list[str], everyone: list[str]) -> None:
        self.b, self.data, self.tasks, self.layers, self.count = b, data, tasks, layers, len(everyone)
        self.of_runs = "shown" in data.attrs
        self.owner, self.others = tasks[0], "others"
        self.edges = [float(edge) for edge in data.attrs["edges"]]
        self.x = data["step"].values.astype(float)
        self.share = 100.0 * data["share"].transpose("layer", "task", "step", "bucket").values
        of_each = dict(zip(everyone, of_tasks(len(everyone))[0], strict=True))
        if self.of_runs or data.sizes["bucket"] != 5:
            self.colours = [diverging(data.sizes["bucket"])] * len(tasks)
        else:
            names = data["task"].values.tolist()
            two = {one: other for one, other in zip(everyone, everyone[::-1], strict=True) if self.count == 2}
            pairs = [(mine, two.get(mine, "")) for mine in names]
            self.colours = [buckets_of(of_each[mine], of_each.get(other, "")) for mine, other in pairs]
        panels = self.share.shape[0] * self.share.shape[1]
        self.kept = series.thin(len(self.x), 240 if panels < 20 else 80)

    def panel(self, axes: Any, layer: int, task: int) -> None:
        x, share = self.x[self.kept], self.share[layer, task][self.kept]
        valid = np.isfinite(share).all(axis=1)
        if not valid.all():
            self.b.band(axes, list(series.span(self.x)), [0, 0], [100, 100], colour=GREY, hatch="//////")
        for place, index in series.pieces(x, valid):
            self.b.stacked_area(axes, place, share[index], colours=self.colours[task])
            edge = share[index, :-1].sum(axis=1)
            if (edge < 99.9).any():  # in grey some tasks are as dark as a bucket of the others
                self.b.line(axes, place, edge, colour="white", width=0.5, label="owned above")

    def axes_of(self, axes: Any, *, x: bool, y: bool, most: int, side: str = "", few: bool = False) -> None:
        limits = inputs.span(self.data)
        # In a table of panels a number at the right edge would run into the next panel's.
        end = limits[0] + (0.8 if few else 1.0) * (limits[1] - limits[0])
        ticks = series.nice_ticks(limits[0], end, most, whole=True)
        if few and not x:
            ticks = []
        self.b.axis(axes, "x", limits=limits, ticks=ticks, labels=series.numbers(ticks) if x else [])
        percents = [0, 100] if few else [0, 50, 100]
        labels = [str(percent) for percent in percents] if y else []
        self.b.axis(axes, "y", limits=(0, 100), ticks=percents if side or not few else [], labels=labels, side=side)

    def buckets(self) -> list[str]:
        """The intervals in per cent: "(80, 100] %"."""
        pairs = zip(self.edges[:-1], self.edges[1:], strict=True)
        return [f"{'(' if i else '['}{100 * low:.3g}, {100 * high:.3g}] %" for i, (low, high) in enumerate(pairs)]

    def entries(self) -> list[Entry]:
        """The buckets in words, for the legend."""
        words = self.buckets()
        even = next(i for i, edge in enumerate(self.edges[1:]) if 1 / self.count <= edge + 1e-9)
        one = self.of_runs or len(self.tasks) == 1
        words[-1] += f": owned by {self.owner if one else 'the task'}"
        if even == 0:
            words[0] += f": little (even: {100 / self.count:.3g} %)"
        else:
            words[even] += ": balanced" if self.count == 2 else f": balanced (even: {100 / self.count:.3g} %)"
            words[0] += f": owned by {self.others if self.count == 2 and one else 'others'}"
        if one:
            return [Entry(word, colour) for word, colour in zip(words, self.colours[0], strict=True)]
        top = [(f"{words[-1]}, in its colour", self.colours[0][-1])]
        if len(self.tasks) <= MOST_SIGNS:
            ends = [colours[-1] for colours in self.colours]
            top = [(f"{task} owns them", colour) for task, colour in zip(self.tasks, ends, strict=True)]
        known = [*zip(words[:-1], self.colours[0][:-1], strict=True), *top]
        return [Entry(word, colour) for word, colour in known]

    def untouched(self) -> list[str]:
        """For each layer, in words; "" while less than half a per cent."""
        out = []
        share = self.data["untouched"].max("task") if self.of_runs else self.data["untouched"]
        for values in 100 * share.transpose("layer", "step").values:
            known = values[np.isfinite(values)]
            if not len(known) or known.max() < 0.5:
                out.append("")
            elif abs(known[0] - known[-1]) < 1:
                out.append(f"{known[-1]:.0f} % untouched")
            else:
                out.append(f"{known[0]:.0f} → {known[-1]:.0f} % untouched")
        return out

    def note(self, left_out: str) -> str:
        drawn = inputs.steps_drawn(len(self.kept), self.data)
        gap = "" if np.isfinite(self.share).all() else "Hatched: no value at these steps."
        error = 0.0
        if "share_se" in self.data:
            error = 100 * float(np.nanmax(self.data["share_se"].values, initial=0.0))
        sampling = f"Sampling error (one standard error): at most {error:.1f} points." if error > 0.5 else ""
        untouched = self.untouched()
        whole = self.data["layer"].values.tolist() == ["all shared"]
        where = f"All shared parameters: {untouched[0]}. " if whole and untouched[0] else ""
        touched = f"{where}Untouched: never moved by any task, in no bucket." if any(untouched) else ""
        return joined(drawn, gap, touched, sampling, inputs.steps_left_out(self.data.attrs), left_out)

    def plot(self, figures: list[Any], axes: Any, left_out: str) -> Plot:
        return Plot(figures, axes, self.data, self.note(left_out), self.b)

    def titles(self) -> list[str]:
        """Of panels or columns, one for each task or run."""
        return self.tasks if self.of_runs or len(self.tasks) > 4 else [f"rAU of {task}" for task in self.tasks]

    def as_grid(self, left_out: str, *, whole: bool) -> Plot:
        """Panels side by side: a task each (whole trunk), or a layer each (one task)."""
        subtitles: list[str] = []
        label = "shared parameters (%)"
        if whole:
            titles = self.titles() if self.of_runs or len(self.tasks) > 1 else [""]
            places = [(0, task) for task in range(len(self.tasks))]
        else:
            titles, label = self.layers, "parameters (%)"
            subtitles = self.untouched()
            places = [(layer, 0) for layer in range(len(self.layers))]
        if self.of_runs or len(self.tasks) == 1:
            label = f"rAU of {self.owner}\n{label}"
        around = sheets.Around(self.entries(), self.note(left_out), "training step", label)
        sheet = sheets.grid(self.b, titles, around, subtitles=subtitles)
        for number, (layer, task) in enumerate(places):
            axes = sheet.axes[number]
            self.panel(axes, layer, task)
            most = 6 if len(places) == 1 else 3
            self.axes_of(axes, x=bool(sheet.bottom[number]), y=bool(sheet.first[number]), most=most)
        return self.plot(sheet.figures, sheet.axes, left_out)

    def as_table(self, left_out: str) -> Plot:
        """A row for each layer, a column for each task."""
        label = f"rAU of {self.owner}\nparameters (%)" if self.of_runs else "parameters (%)"
        around = sheets.Around(self.entries(), self.note(left_out), "training step", label)
        sheet = sheets.table(self.b, self.layers, self.titles(), around, row_notes=self.untouched())
        most = 4 if len(self.tasks) <= 4 else 2
        for place in np.ndindex(*sheet.axes.shape):
            axes, last = sheet.axes[place], bool(sheet.last[place])
            self.panel(axes, *place)
            top = place[0] == 0 or bool(sheet.bottom[place[0] - 1, place[1]])  # below, the numbers would meet
            side = "right" if last else ""
            self.axes_of(axes, x=bool(sheet.bottom[place]), y=last and top, most=most, side=side, few=True)
        return self.plot(sheet.figures, sheet.axes, left_out)

    def onto(self, ax: Any, left_out: str) -> Plot:
        """Into the user's axes, which then carry the words themselves."""
        pairs = list(np.ndindex(*self.share.shape[:2]))
        axes = inputs.given_axes(ax, len(pairs))
        for target, (layer, task) in zip(axes, pairs, strict=True):
            self.panel(target, layer, task)
            self.axes_of(target, x=True, y=True, most=5)
            self.b.axis_label(target, "x", "training step")
            self.b.axis_label(target, "y", f"rAU of {self.owner if self.of_runs else self.tasks[task]}\nparameters (%)")
            named = [self.tasks[task]] * self.of_runs + [self.layers[layer]] * (len(self.layers) > 1)
            if named:
                self.b.title(target, ", ".join(named))
        self.b.legend(axes[-1], self.entries()[::-1])
        return self.plot([self.b.figure_of(axes[0])], axes, left_out)


def with_edges(data: xr.Dataset) -> xr.Dataset:
    """The result with its bucket edges in the attributes."""
    edges = [float(data["lower"][0]), *(float(edge) for edge in data["upper"].values)]
    return data.assign_attrs(edges=edges)
