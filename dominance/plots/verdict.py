"""The verdict in one picture: its sentences, who owns which layer and since when, and which tasks are in conflict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.verdict.finding import Finding, Verdict
from dominance.analyse.verdict.rules import CONFLICT, LIKELY
from dominance.analyse.verdict.verdict import verdict
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs
from dominance.plots.backends import Backend, Box
from dominance.plots.inputs import Layers, joined
from dominance.plots.labels import Labeller, fit, relabel, wrap
from dominance.plots.palette import DIVERGING, INK, SEQUENTIAL
from dominance.plots.result import Plot
from dominance.plots.sheets import LINE, NORMAL, PAGE, SMALL, TWO_COLUMNS

MOST_PAIRS = 6
"""With more pairs, those that conflict most are shown."""

MOST_SENTENCES = 6

_EDGE, _GAP, _ROW, _SINCE, _UPRIGHT = 0.06, 0.16, 0.19, 1.3, 1.3
_OWNED = "share of the parameters owned (%)"
_DEGREE = "mean GCD"


@backends.themed
def plot_verdict(
    run_or_result: xr.DataTree | Verdict | Any,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """What was found in words; below, a row for each layer: who owns how much, since when, and which tasks conflict.

    The darker a cell, the more of the layer's parameters the task owns (rAU over 80 %). Right of them stands the owner,
    where the verdict names one, and since which step; then the mean GCD of each pair, of many pairs the worst. Every
    cell has its number, so that the picture can be read in grey.

    Args:
        run_or_result: an open run, or its ``verdict``.
        tasks: show these; default all.
        layers: "each", a glob, or names; the whole trunk is always the first row.
        ax: axes for the map of owners alone.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Returns:
        Plot; ``data`` is the verdict's, of what is shown.

    Raises:
        NothingRecorded: no usable step, or no layer was moved by any task.
        BadOption: an unknown task, layer or backend, or what is neither a run nor a verdict.
    """
    if isinstance(run_or_result, Verdict):
        found = run_or_result
    elif isinstance(run_or_result, xr.DataTree):
        found = verdict(run_or_result)
    else:
        raise BadOption(f"cannot plot {type(run_or_result)} as a verdict", fix="give an open run, or verdict(run)")
    b = backends.get(backend)
    chosen = inputs.choose_tasks(found.data, tasks)
    known = inputs.known_layers(found.data["held"])
    if not known:
        raise NothingRecorded("no task has moved a shared parameter", fix="record a model with shared layers")
    names, left_out = inputs.choose_layers(known[:-1], layers or "each")
    data = found.data.sel(layer=[known[-1], *names], task=chosen)
    ours = np.isin(found.data["pair_task"].values, chosen) & np.isin(found.data["pair_other"].values, chosen)
    data = data.isel(pair=np.flatnonzero(ours))
    shown = _Shown(b, data, labeller)
    if ax is not None:
        return shown.onto(ax, left_out)
    return shown.sheets([*found.remarks, *(_sentence(finding) for finding in found.findings)], left_out)


class _Shown:
    """The numbers and words of the picture."""

    def __init__(self, b: Backend, data: xr.Dataset, labeller: Labeller | None) -> None:
        self.b, self.data = b, data
        self.tasks = relabel(data["task"].values.tolist(), labeller)
        self.rows = relabel(data["layer"].values.tolist(), labeller)
        self.owned = 100 * data["owned_last"].transpose("layer", "task").values
        chance = np.fmax(data["owned_probability"].values, data["held_probability"].values)
        owner = np.where(np.isfinite(chance), chance, -1).argmax(axis=1)
        since = data["since"].transpose("layer", "task").values
        self.owner = [
            self._owner(self.tasks[k], int(since[i, k])) if np.nan_to_num(chance[i, k]) >= LIKELY else ""
            for i, k in enumerate(owner)
        ]
        degree = data["mean_gcd"].transpose("layer", "pair").values
        worst = np.where(np.isfinite(degree), degree, 0).max(axis=0, initial=0)
        kept = np.sort(np.argsort(-worst, kind="stable")[:MOST_PAIRS])
        kept = kept[worst[kept] > 0]
        self.degree = degree[:, kept]
        sure = np.nan_to_num(data["above"].transpose("layer", "pair").values)[:, kept] >= LIKELY
        self.conflict = sure & (np.nan_to_num(self.degree) >= CONFLICT)
        short = dict(zip(data["task"].values.tolist(), fit(self.tasks, (_UPRIGHT - 0.2) / 2, b, SMALL), strict=True))
        both = zip(data["pair_task"].values[kept].tolist(), data["pair_other"].values[kept].tolist(), strict=True)
        self.pairs = [f"{short[one]} × {short[other]}" for one, other in both]
        self.fewer = f"The {len(kept)} pairs of {len(worst)} that conflict most." if len(kept) < len(worst) else ""

    def _owner(self, task: str, since: int) -> str:
        after = f" since {since:,}" if since >= 0 else ""
        room = _SINCE - self.b.text_width(after, SMALL)
        return fit([task], room, self.b, SMALL)[0] + after

    def note(self, left_out: str) -> str:
        marked = "Bold frame: conflict." if self.conflict.any() else ""
        degree = "GCD: 0 same direction, 1 at right angles, 2 opposed." if self.pairs else ""
        owned = "Owned: rAU over 80 %, at the last step. Hatched: no value."
        return joined(owned, degree, marked, self.fewer, left_out)

    def onto(self, ax: Any, left_out: str) -> Plot:
        (axes,) = inputs.given_axes(ax, 1)
        self._map(axes, slice(None))
        b = self.b
        b.axis(axes, "x", ticks=np.arange(len(self.tasks)) + 0.5, labels=self.tasks, rotation=90, marks=False)
        b.axis(axes, "y", ticks=np.arange(len(self.rows)) + 0.5, labels=self.rows, marks=False)
        return Plot.on(axes, self.data, self.note(left_out), b)

    def sheets(self, sentences: list[str], left_out: str) -> Plot:
        b = self.b
        width = TWO_COLUMNS - 2 * _EDGE
        said = sentences[:MOST_SENTENCES]
        if len(sentences) > MOST_SENTENCES:
            said.append(f"And {len(sentences) - MOST_SENTENCES} more.")
        lines = [line for sentence in said for line in wrap(f"• {sentence}", width, b, NORMAL)]
        left = _EDGE + min(1.6, max(b.text_width(row, SMALL) for row in self.rows)) + 0.08
        blocks = 2 if self.pairs else 1
        room = TWO_COLUMNS - left - _SINCE - _EDGE - _GAP * blocks
        cell = min(0.62, room / (len(self.tasks) + len(self.pairs)))
        need = max(b.text_width(name, SMALL) for name in (*self.tasks, *self.pairs))
        header = 0.2 + (min(_UPRIGHT, need) if need > cell - 0.04 else LINE)
        note = wrap(self.note(left_out), width, b, SMALL)
        below = len(note) * LINE + 0.1
        top = len(lines) * (LINE + 0.02) + 0.12
        per_page = max(1, int((PAGE - top - header - below) / _ROW))
        pages = -(-len(self.rows) // per_page)
        starts = np.linspace(0, len(self.rows), pages + 1).round().astype(int).tolist()
        figures, axes = [], []
        for first, last in pairwise(starts):
            high = (last - first) * _ROW
            height = top + header + high + below
            figure = b.figure(TWO_COLUMNS, height)
            for number, line in enumerate(lines):
                b.text(figure, _EDGE, height - _EDGE - (number + 0.8) * (LINE + 0.02), line, size=NORMAL)
            b.text(figure, _EDGE, below - 0.04, "\n".join(note), size=SMALL, vertical="top")
            base, place = below, left
            part = slice(first, last)
            block = b.new_axes(figure, Box(place, base, cell * len(self.tasks), high))
            self._map(block, part)
            self._names(block, self.tasks, cell, header - 0.2, fit(self.rows, 1.6, b, SMALL)[part])
            b.text(figure, place, base + high + header - 0.13, _OWNED, size=SMALL)
            axes.append(block)
            place += max(cell * len(self.tasks), b.text_width(_OWNED, SMALL)) + 0.08
            self._since(figure, place, base, high, part, header)
            place += _SINCE + _GAP
            if self.pairs:
                block = b.new_axes(figure, Box(place, base, cell * len(self.pairs), high))
                self._degrees(block, part, cell)
                self._names(block, self.pairs, cell, header - 0.2, [])
                title = fit([_DEGREE], max(cell * len(self.pairs), 0.6), b, SMALL)[0]
                b.text(figure, place, base + high + header - 0.13, title, size=SMALL)
                axes.append(block)
            figures.append(figure)
        return Plot(figures, np.array(axes, dtype=object), self.data, self.note(left_out), b)

    def _map(self, axes: Any, rows: slice) -> None:
        texts = [[f"{v:.0f}" if np.isfinite(v) else "" for v in row] for row in self.owned[rows]]
        self.b.cells(axes, self.owned[rows], colours=SEQUENTIAL, low=0, high=100, texts=texts)

    def _degrees(self, axes: Any, rows: slice, cell: float) -> None:
        digits = 2 if cell > 0.28 else 1
        texts = [[f"{v:.{digits}f}" if np.isfinite(v) else "" for v in row] for row in self.degree[rows]]
        self.b.cells(axes, self.degree[rows], colours=DIVERGING, low=0, high=2, texts=texts)
        for i, j in zip(*np.nonzero(self.conflict[rows]), strict=True):
            x, y = [j, j + 1, j + 1, j, j], [i, i, i + 1, i + 1, i]
            self.b.line(axes, x, y, colour=INK, width=1.4)

    def _names(self, axes: Any, columns: list[str], cell: float, room: float, rows: list[str]) -> None:
        upright = room > LINE
        short = fit(columns, room if upright else cell, self.b, SMALL)
        places = np.arange(len(columns)) + 0.5
        self.b.axis(axes, "x", ticks=places, labels=short, rotation=90.0 if upright else 0.0, side="top", marks=False)
        if rows:
            self.b.axis(axes, "y", ticks=np.arange(len(rows)) + 0.5, labels=rows, marks=False)

    def _since(self, figure: Any, left: float, base: float, high: float, rows: slice, header: float) -> None:
        self.b.text(figure, left, base + high + header - 0.13, "owner, since step", size=SMALL)
        step = high / (rows.stop - rows.start)
        for number, words in enumerate(self.owner[rows]):
            y = base + high - (number + 0.5) * step
            self.b.text(figure, left, y, words or "–", size=SMALL, vertical="center")


def _sentence(finding: Finding) -> str:
    """What was found, and why; or why it cannot be trusted."""
    if finding.doubt:
        return f"{finding.text} Not to be trusted, because {finding.doubt}."
    return f"{finding.text} Why: {finding.why}" if finding.why else finding.text
