"""A run in one picture: who owns which layer over training, who conflicts, and whether the tasks learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.glance import glance
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.loss_curves import loss_curves
from dominance.analyse.summary import Overview, overview, percent
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs, series
from dominance.plots.backends import Backend, Box, Entry
from dominance.plots.inputs import Layers, joined
from dominance.plots.labels import Labeller, fit, relabel, wrap
from dominance.plots.palette import DASHES, GREY, INK, lines_of, of_tasks
from dominance.plots.result import Plot
from dominance.plots.sheets import LINE, NORMAL, SMALL, TWO_COLUMNS, legend_rows

PAPER = "#f1efe9"
"""Where no task owns anything."""

MOST_PAIRS = 4
_EDGE, _COLUMNS = 0.06, 160
_NAMES, _OWNER, _COUNT, _PAIR = 1.5, 1.0, 0.6, 1.3  # inches of the columns beside the map, at most


def heights(rows: int) -> tuple[float, float]:
    """Inches of a row of the map and of a panel below it: less of each where there are many rows."""
    return (0.24, 1.5) if rows <= 10 else (0.15, 1.0)


@backends.themed
def plot_overview(
    run: xr.DataTree,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
    seen: Overview | None = None,
) -> Plot:
    """Layers over training steps, in the colour of the task that owns most; below, conflict and losses.

    The stronger the colour of a cell, the more of the layer's parameters that task owns (rAU over 80 %); pale: nobody
    owns any. Beside each row stand the largest owner at the last step, the effective number of tasks, and the two tasks
    that conflict most, with their mean GCD. Of more than 20 layers the four with the fewest effective tasks come first,
    and below them all are folded into groups by the depth of their modules, from the input up.

    Args:
        run: an open run.
        tasks: tell these apart; what other tasks own is grey. Default all.
        layers: "each", a glob, or names.
        ax: axes for the map alone.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.
        seen: :func:`dominance.analyse.summary.overview` of the run, if it is known already.

    Returns:
        Plot; ``data`` is that of :func:`dominance.analyse.glance.glance`.

    Raises:
        NothingRecorded: no usable step, fewer than two tasks, or no shared parameter that a task has moved.
        BadOption: not a run, an unknown task, layer or backend.
    """
    if not isinstance(run, xr.DataTree):
        raise BadOption(f"cannot plot {type(run)} as an overview", fix="give an open run")
    b = backends.get(backend)
    seen = seen or overview(run)
    known = inputs.known_layers(seen.layers["share"])
    if seen.layers.sizes["task"] < 2:
        raise NothingRecorded("there is one task, and it owns all", fix="record two tasks or more")
    if not known:
        raise NothingRecorded("no task has moved a shared parameter", fix="record a model with shared layers")
    chosen = inputs.choose_tasks(seen.layers, tasks)
    names, left_out = inputs.choose_layers(known, layers or "each", most=len(known))
    shown = _Shown(b, run, glance(run, seen, names), seen, chosen, labeller)
    note = joined(*shown.notes(), left_out)
    if ax is not None:
        (axes,) = inputs.given_axes(ax, 1)
        shown.map(axes)
        b.axis(axes, "y", ticks=np.arange(len(shown.rows)) + 0.5, labels=shown.rows, marks=False)
        b.axis_label(axes, "x", "training step")
        b.legend(axes, shown.entries())
        return Plot.on(axes, shown.data, note, b)
    figure, axes = shown.sheet(note)
    return Plot([figure], np.array(axes, dtype=object), shown.data, note, b)


class _Shown:
    """The numbers and words of the picture."""

    def __init__(
        self,
        b: Backend,
        run: xr.DataTree,
        data: xr.Dataset,
        seen: Overview,
        chosen: Sequence[str],
        labeller: Labeller | None,
    ) -> None:
        self.b, self.data, self.seen, self.chosen = b, data, seen, list(chosen)
        self.loss = loss_curves(run)[["loss"]].compute()
        self.tasks = [str(task) for task in data["task"].values]
        self.words = dict(zip(self.tasks, relabel(self.tasks, labeller), strict=True))
        colours = of_tasks(len(self.tasks))[0]
        self.colours = [colour if task in chosen else GREY for task, colour in zip(self.tasks, colours, strict=True)]
        self.rows = relabel(data["row"].values.tolist(), labeller)
        self.limits = inputs.span(data)
        self.x = data["step"].values.astype(float)
        self.place = series.columns(self.x, self.limits, _COLUMNS)
        self.owned = data["owned"].values  # (step, row, task)

    def entries(self) -> list[Entry]:
        """The tasks, and what is pale."""
        known = zip(self.tasks, self.colours, strict=True)
        found = [Entry(self.words[task], colour) for task, colour in known if task in self.chosen]
        found += [Entry("other tasks", GREY)] if len(found) < len(self.tasks) else []
        return [*found, Entry("pale: nobody owns much", PAPER, "")]

    def notes(self) -> list[str]:
        """What a caption must say."""
        about = self.data.attrs
        gap = (self.place < 0).any() or not np.isfinite(self.owned).all()
        return [
            "Map: colour of the task that owns most of a layer's parameters (rAU > 80 %), the stronger the more.",
            "Hatched: not recorded, or nothing moved yet." if gap else "",
            "Beside it, at the last step: who owns most; effective tasks; the pair with the largest mean GCD (over 1: "
            "against each other).",
            f"First the {about['worst']} layers with the fewest effective tasks; below, all layers from the input up."
            if about["worst"]
            else "",
            inputs.steps_left_out(about),
        ]

    def map(self, axes: Any) -> None:
        self.b.image(axes, self._picture())
        ticks = series.nice_ticks(*self.limits, 6, whole=True)
        places = series.column_places(ticks, self.limits, len(self.place))
        self.b.axis(axes, "x", ticks=places, labels=series.numbers(ticks))

    def _picture(self) -> Any:
        """(row, column, RGBA)."""
        owned = self.owned[self.place].transpose(1, 0, 2)
        known = np.isfinite(owned).any(axis=2) & (self.place >= 0)
        share = np.where(np.isfinite(owned), owned, 0.0)
        rgb = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in (*self.colours, PAPER)])
        most = share.max(axis=2)[..., None]
        mixed = most * rgb[share.argmax(axis=2)] + (1 - most) * rgb[-1]
        return np.concatenate([mixed, known[..., None].astype(float)], axis=2)

    def beside(self) -> list[tuple[str, str, str]]:
        """For each row: the largest owner, effective tasks, the pair that conflicts most."""
        found = []
        count = len(self.tasks)
        short = dict(zip(self.tasks, fit(list(self.words.values()), (_PAIR - 0.45) / 2, self.b, SMALL), strict=True))
        effective = self.data["effective_tasks"].values[-1]
        for row in range(len(self.rows)):
            share = np.nan_to_num(self.owned[-1, row])
            owner = ""
            if share.max() > 0:
                tail = f" {percent(float(share.max()))}"
                room = _OWNER - 0.08 - self.b.text_width(tail, SMALL)
                owner = fit([self.words[self.tasks[int(share.argmax())]]], room, self.b, SMALL)[0] + tail
            one, other = str(self.data["task_one"].values[row]), str(self.data["task_other"].values[row])
            pair = f"{short[one]} × {short[other]} {float(self.data['mean_gcd'].values[row]):.2f}" if one else "–"
            tasks = f"{effective[row]:.1f} of {count}" if np.isfinite(effective[row]) else "–"
            found.append((owner or "nobody", tasks, pair))
        return found

    def sheet(self, note: str) -> tuple[Any, list[Any]]:
        b, width = self.b, TWO_COLUMNS
        lines = wrap(note, width - 2 * _EDGE, b, SMALL)
        legend = legend_rows(b, self.entries(), width - 2 * _EDGE)
        names = min(_NAMES, max(b.text_width(row, SMALL) for row in self.rows))
        below = len(lines) * LINE + 0.08
        step, tall = heights(len(self.rows))
        panels = 0.17 + LINE + 0.04 + tall + 0.34
        high = step * len(self.rows)
        height = _EDGE + len(legend) * LINE + 0.26 + high + 0.42 + panels + below
        figure = b.figure(width, height)
        for number, row in enumerate(legend):
            b.legend(figure, row, x=_EDGE, y=height - _EDGE - number * LINE, columns=len(row))
        top = height - _EDGE - len(legend) * LINE - 0.26
        left = _EDGE + names + 0.08
        wide = width - left - _OWNER - _COUNT - _PAIR - 0.14
        axes = b.new_axes(figure, Box(left, top - high, wide, high))
        self.map(axes)
        short = fit(self.rows, names, b, SMALL)
        b.axis(axes, "y", ticks=np.arange(len(short)) + 0.5, labels=short, marks=False)
        b.text(figure, left + wide / 2, top - high - 0.3, "training step", size=NORMAL, horizontal="center")
        self._columns(figure, left + wide + 0.1, top, step)
        base = below + 0.34
        half = (width - 2 * _EDGE - 0.3) / 2
        made = [axes]
        for number, draw in enumerate((self._conflict, self._losses)):
            x = _EDGE + number * (half + 0.3)
            panel = b.new_axes(figure, Box(x + 0.36, base, half - 0.36, tall))
            title, signs = draw(panel)
            b.text(figure, x, base + tall + LINE + 0.1, title, size=NORMAL, bold=True)
            rows = legend_rows(b, signs, half)
            for row in rows if len(rows) == 1 else []:  # more have their colours above the map
                b.legend(figure, row, x=x, y=base + tall + LINE + 0.02, columns=len(row))
            b.text(figure, x + half / 2 + 0.18, base - 0.3, "training step", size=NORMAL, horizontal="center")
            made.append(panel)
        b.text(figure, _EDGE, below - 0.06, "\n".join(lines), size=SMALL, vertical="top")
        return figure, made

    def _columns(self, figure: Any, left: float, top: float, step: float) -> None:
        b, places = self.b, np.cumsum([left, _OWNER, _COUNT])
        for x, word in zip(places, ("largest owner", "tasks", "most conflict (GCD)"), strict=True):
            b.text(figure, float(x), top + 0.06, word, size=SMALL, bold=True)
        first = 1 + int(self.data.attrs["worst"])
        for row, said in enumerate(self.beside()):
            y = top - (row + 0.5) * step
            for x, word in zip(places, said, strict=True):
                b.text(figure, float(x), y, word, size=SMALL, vertical="center")
        for row in {1, first} if first < len(self.rows) else {1}:
            b.rule(figure, _EDGE, TWO_COLUMNS - _EDGE, top - row * step)

    def _conflict(self, axes: Any) -> tuple[str, list[Entry]]:
        """GCD in the whole trunk over training, of the pairs that conflict most there."""
        b, data = self.b, self.seen.trunk_conflict
        mean = data["mean_gcd"].sel(layer=ALL_SHARED).transpose("task", "task_other").values
        pairs = [(i, j) for i, j in zip(*np.triu_indices(len(mean), 1), strict=True) if np.isfinite(mean[i, j])]
        pairs = sorted(pairs, key=lambda pair: -mean[pair])[:MOST_PAIRS]
        x = data["step"].values.astype(float)
        window = series.window_of(len(x))
        values = data["gcd"].sel(layer=ALL_SHARED).transpose("task", "task_other", "step").values
        looks = list(zip((INK, "#a83a0c", "#5a8cc4", GREY), DASHES, strict=True))
        short = fit(list(self.words.values()), 0.18 if len(pairs) > 3 else 0.3, b, SMALL)
        drawn, entries = [1.0], []
        for (i, j), (colour, dashes) in zip(pairs, looks, strict=False):
            place, opened = series.opened(x, values[i, j], window)
            smooth = series.smooth(opened, window)
            _line(b, axes, place, smooth, colour, dashes)
            drawn += smooth[np.isfinite(smooth)].tolist()
            entries.append(Entry(f"{short[i]} × {short[j]}", colour, line=True, dashes=dashes))
        b.reference(axes, 1.0, colour=GREY, label="conflict")
        low, high = min(0.8, min(drawn) - 0.05), max(1.2, max(drawn) + 0.05)
        ticks = series.nice_ticks(low, high, 5)
        b.axis(axes, "y", limits=(low, high), ticks=ticks, labels=series.numbers(ticks))
        self._steps(axes)
        return "Do they pull against each other? GCD, over 1: yes", entries

    def _losses(self, axes: Any) -> tuple[str, list[Entry]]:
        """What is left of each task's loss, in per cent of the first tenth of the steps."""
        b, x = self.b, self.loss["step"].values.astype(float)
        window = series.window_of(len(x))
        drawn, entries = [0.0, 100.0], []
        for task, colour, (_, dashes) in zip(self.tasks, self.colours, lines_of(len(self.tasks)), strict=True):
            loss = self.loss["loss"].sel(task=task).values
            first = loss[: max(1, len(loss) // 10)]
            start = float(np.mean(first[np.isfinite(first)])) if np.isfinite(first).any() else float("nan")
            if task not in self.chosen or not start > 0:
                continue
            place, opened = series.opened(x, 100 * loss / start, window)
            smooth = series.smooth(opened, window)
            _line(b, axes, place, smooth, colour, dashes)
            drawn += smooth[np.isfinite(smooth)].tolist()
            entries.append(Entry(self.words[task], colour, line=True, dashes=dashes))
        if not entries:
            b.text(axes, 0.5, 0.5, "no loss that starts above 0", horizontal="center", vertical="center", colour=GREY)
        low, high = min(drawn), float(np.quantile(drawn, 0.995))
        limits = (low * 1.05, max(high, 100.0) * 1.06)
        ticks = series.nice_ticks(*limits, 4)
        b.reference(axes, 100.0, colour=GREY, label="start")
        b.axis(axes, "y", limits=limits, ticks=ticks, labels=series.numbers(ticks))
        self._steps(axes)
        return "Does each of them learn? Loss, % of its start", entries

    def _steps(self, axes: Any) -> None:
        ticks = series.nice_ticks(*self.limits, 4, whole=True)
        self.b.axis(axes, "x", limits=self.limits, ticks=ticks, labels=series.numbers(ticks))


def _line(b: Backend, axes: Any, x: Any, y: Any, colour: str, dashes: str) -> None:
    kept = series.thin(len(x), 400)
    b.line(axes, x[kept], y[kept], colour=colour, dashes=dashes)
    alone = series.lone(y[kept])
    if alone.any():
        b.line(axes, x[kept][alone], y[kept][alone], colour=colour, marker=True)
