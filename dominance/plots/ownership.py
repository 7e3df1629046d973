"""Who owns which layer, over training: a band for each layer in the colour of its owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.ownership import NOBODY, ownership
from dominance.errors import NothingRecorded
from dominance.plots import backends, cell_pages, inputs, series, sheets
from dominance.plots.backends import Backend, Entry
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import GREY, INK, of_tasks
from dominance.plots.result import Plot

_FIX_WHOLE = 'pass layers="each", or the run itself, or ownership(run, by="all")'
_OTHER = "#dddddd"
_HALF = 0.4  # of the height of a band; a row is 1 high


@backends.themed
def plot_ownership(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """A band for each shared layer over training steps, in the colour of the task that owns it; hatched: no owner.

    Names of owners stand in the bands where there is room, the last one with the share of the layer's parameters that
    it owns at the last step. Blank: no task has moved a parameter of the layer yet.

    Args:
        run_or_result: an open run, or the result of ``ownership``.
        tasks: the owners to tell apart; what other tasks own is grey. Default all.
        layers: "each", a glob, or names; None for one band, the whole shared trunk.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no usable step, fewer than two tasks, or no shared parameter that a task has moved.
        BadOption: several runs, an unknown task, layer or backend.
    """
    b = backends.get(backend)
    by = "all" if layers is None else "layer"

    def measure(run: xr.DataTree) -> xr.Dataset:
        return ownership(run, by=by, attribution=inputs.attribution(run))

    data = inputs.one_run(inputs.resolve(run_or_result, "owner_at", measure))
    everyone = [str(name) for name in data["task"].values]
    if len(everyone) < 2:
        raise NothingRecorded(f"there is one task ({everyone[0]}), and it owns all", fix="record two tasks or more")
    chosen = inputs.choose_tasks(data, tasks)
    left_out = ""
    if layers is None:
        data = inputs.whole_trunk(data, _FIX_WHOLE)
    if not np.isfinite(data["share"]).any():
        raise NothingRecorded("no shared coordinate was moved by any task", fix="record a model with shared layers")
    if layers is not None:
        names, left_out = inputs.choose_layers(inputs.known_layers(data["share"]), layers)
        data = data.sel(layer=names)
    shown = _Shown(b, data, everyone, chosen, labeller)
    rows = relabel(data["layer"].values.tolist(), labeller)
    note = joined(*shown.notes(), left_out)
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        shown.draw(axes, range(len(rows)), rows, width=3.0)
        b.axis_label(axes, "x", "training step")
        b.legend(axes, shown.entries())
        return Plot.on(axes, data, note, b)
    around = sheets.Around(shown.entries(), note, "training step")
    widest = min(1.9, max(b.text_width(row, sheets.SMALL) for row in rows))
    body = (sheets.TWO_COLUMNS if len(rows) > 1 else sheets.ONE_COLUMN) - widest - 0.4
    pages = cell_pages.heat(b, rows, [""], around, body=body, bar_space=0.0, cell_height=(0.16, 0.24))
    for page in pages:
        shown.draw(page.axes, page.rows, page.row_names, width=body)
    return Plot.of_pages(pages, data, note, b)


class _Shown:
    """The owners, their colours and words, and how the bands are drawn."""

    def __init__(
        self, b: Backend, data: xr.Dataset, everyone: list[str], chosen: list[str], labeller: Labeller | None
    ) -> None:
        self.b, self.data = b, data
        colours, hatches = of_tasks(len(everyone))
        self.look = {task: (colours[i], hatches[i]) for i, task in enumerate(everyone) if task in chosen}
        self.words = dict(zip(everyone, relabel(everyone, labeller), strict=True))
        self.owner = data["owner_at"].transpose("layer", "step").values
        self.share = data["share"].transpose("layer", "step", "task").sel(task=everyone).values
        self.last = {task: 100 * self.share[:, -1, i] for i, task in enumerate(everyone)}
        self.moved = np.isfinite(self.share).any(axis=2)
        self.state = self.owner.copy()
        self.state[~self.moved] = None
        x = data["step"].values.astype(float)
        self.limits = inputs.span(data)
        self.edges = np.concatenate([self.limits[:1], (x[1:] + x[:-1]) / 2, series.span(x)[1:]])

    def entries(self) -> list[Entry]:
        """The tasks that own something, what the others own, and what nobody owns."""
        owners = set(self.owner.ravel().tolist())
        found = [Entry(self.words[t], colour, hatch) for t, (colour, hatch) in self.look.items() if t in owners]
        if owners - set(self.look) - {NOBODY}:
            found.append(Entry("another task", _OTHER))
        if ((self.owner == NOBODY) & self.moved).any():
            found.append(Entry("no owner", "white", "//////"))
        return found

    def notes(self) -> list[str]:
        """What a caption must say."""
        about = self.data.attrs
        owns, bound = 100 * float(about.get("owns", 0.5)), 100 * float(about.get("threshold", 0.8))
        error = 100 * float(np.nanmax(self.data["share_se"].values, initial=0.0)) if "share_se" in self.data else 0.0
        return [
            f"Owner: the task with rAU > {bound:g} % on more than {owns:g} % of the layer's parameters.",
            f"By more than two standard errors of sampling (at most {error:.1f} points each)." if error > 0.05 else "",
            "Blank: no parameter moved yet." if not self.moved.all() else "",
            inputs.steps_left_out(about),
        ]

    def draw(self, axes: Any, rows: range, names: Sequence[str], *, width: float) -> None:
        """The bands of some layers, the first on top; ``width`` in inches says which names have room."""
        ticks = series.nice_ticks(*self.limits, 6, whole=True)
        self.b.axis(axes, "x", limits=self.limits, ticks=ticks, labels=series.numbers(ticks))
        places = np.arange(len(rows)) + 0.5
        self.b.axis(axes, "y", limits=(len(rows), 0), ticks=places, labels=list(names), marks=False)
        for place, row in zip(places, rows, strict=True):
            starts = np.flatnonzero(np.r_[True, self.state[row, 1:] != self.state[row, :-1]])
            for start, stop in zip(starts, np.r_[starts[1:], len(self.owner[row])], strict=True):
                if self.moved[row, start]:
                    self._segment(axes, row, place / len(rows), place, int(start), int(stop), width)

    def _segment(self, axes: Any, row: int, down: float, place: float, start: int, stop: int, width: float) -> None:
        b, owner = self.b, str(self.owner[row, start])
        x = [float(self.edges[start]), float(self.edges[stop])]
        low, high = [place - _HALF] * 2, [place + _HALF] * 2
        if owner == NOBODY:
            b.band(axes, x, low, high, colour=GREY, hatch="//////", label=owner)
            return
        colour, hatch = self.look.get(owner, (_OTHER, ""))
        b.band(axes, x, low, high, colour=colour, label=owner)
        if hatch:
            b.band(axes, x, low, high, colour="white", hatch=hatch)
        word = self.words[owner]
        said = [f"{word} {self.last[owner][row]:.0f} %", word] if stop == self.owner.shape[1] else [word]
        whole = self.limits[1] - self.limits[0]
        room = (x[1] - x[0]) / whole * width - 0.08
        fits = next((text for text in said if b.text_width(text, sheets.SMALL) <= room), "")
        if fits:
            middle = ((x[0] + x[1]) / 2 - self.limits[0]) / whole
            ink = INK if _light(colour) or hatch else "white"
            b.text(axes, middle, 1 - down, fits, size=sheets.SMALL, colour=ink, horizontal="center", vertical="center")


def _light(colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5
