"""What changed from one training to another: every number before and after, on scales of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.study.changed import Change, Line
from dominance.errors import BadOption
from dominance.plots import backends, series
from dominance.plots.backends import Backend, Box, Entry
from dominance.plots.cell_pages import names_down
from dominance.plots.inputs import joined
from dominance.plots.labels import Labeller, fit, relabel, wrap
from dominance.plots.palette import GREY, INK, TASKS
from dominance.plots.result import Plot
from dominance.plots.sheets import LINE, NORMAL, SMALL, TWO_COLUMNS, legend_rows

MOST_ROWS = 12
"""Of more layers or pairs, those that changed most."""

_EDGE, _ROW, _NAMES = 0.06, 0.18, 1.25
_BEFORE, _AFTER = GREY, TASKS[0]
_PANELS = (
    ("effective tasks", ("effective_tasks",), 1.0),
    ("owned parameters (%)", ("owned",), 100.0),
    ("mean GCD", ("gcd",), 1.0),
    ("loss and scores, % of before", ("loss", "score"), 0.0),
)
"""Title, quantities, and what they are multiplied by; 0: they are drawn relative to their value before."""


@backends.themed
def plot_change(
    found: Change,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: str | Sequence[str] | None = None,
    ax: None = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """A row for each number: before (grey, round) and after (blue, square) with intervals, joined by a line.

    A dark line: the change is more than noise; a pale one: it may be noise. Losses and scores stand relative to what
    they were.

    Args:
        found: the result of ``change``.
        tasks: show what is of these tasks; default all.
        layers: show these layers; default those that changed most.
        ax: it has several panels; only None is possible.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        BadOption: not a result of ``change``, or an unknown backend.
    """
    if not isinstance(found, Change):
        raise BadOption(f"cannot plot {type(found)} as a change", fix="give the result of change(before, after)")
    if ax is not None:
        raise BadOption("a change is drawn in several panels, not into given axes", fix="leave out ax")
    b = backends.get(backend)
    lines = _chosen(found.lines, tasks, layers)
    panels = [(title, [line for line in lines if line.quantity in kinds], by) for title, kinds, by in _PANELS]
    panels = [(title, _most(each), by) for title, each, by in panels if each]
    note = joined(
        f"Before: {_runs(found.runs[0])}. After: {_runs(found.runs[1])}.",
        "Whiskers: 95 % intervals. Dark line: more than noise (p < 0.05 for all rows together).",
        *found.notes,
        *(f"Not to be trusted, {run}: {'; '.join(why)}." for run, why in found.doubts.items()),
    )
    figure, axes = _sheet(b, panels, note, labeller)
    data = xr.Dataset(
        {
            "value": (("line", "side"), np.array([[each.before.value, each.after.value] for each in lines])),
            "se": (("line", "side"), np.array([[each.before.se, each.after.se] for each in lines])),
        },
        coords={"side": ["before", "after"]},
    )
    return Plot([figure], np.array(axes, dtype=object), data, note, b)


def _chosen(lines: Sequence[Line], tasks: Any, layers: Any) -> list[Line]:
    asked = {name: {value} if isinstance(value, str) else value and set(value) for name, value in
             (("tasks", tasks), ("layers", layers))}  # fmt: skip
    out = []
    for line in lines:
        of = {name for name in (line.task, line.task_other) if name}
        if asked["tasks"] and not of <= asked["tasks"]:
            continue
        if asked["layers"] and line.layer not in ("", ALL_SHARED) and line.layer not in asked["layers"]:
            continue
        out.append(line)
    return out


def _most(lines: Sequence[Line]) -> list[Line]:
    """Of too many, the whole and those that changed most."""
    if len(lines) <= MOST_ROWS:
        return list(lines)
    order = sorted(lines, key=lambda line: (line.layer != ALL_SHARED, not line.beyond_noise, -abs(line.change)))
    kept = {id(line) for line in order[:MOST_ROWS]}
    return [line for line in lines if id(line) in kept]


def _runs(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} runs, the first {names[0]}"


def _sheet(b: Backend, panels: Sequence[tuple[str, list[Line], float]], note: str, labeller: Labeller | None) -> Any:
    """Two panels a row."""
    entries = [Entry("before", _BEFORE, marker="o"), Entry("after", _AFTER, marker="s")]
    words = wrap(note, TWO_COLUMNS - 2 * _EDGE, b, SMALL)
    below = len(words) * LINE + 0.1
    pairs = [panels[i : i + 2] for i in range(0, len(panels), 2)]
    tall = [_ROW * max(len(lines) for _, lines, _ in pair) + 0.62 for pair in pairs]
    height = _EDGE + LINE + 0.05 + sum(tall) + below
    figure = b.figure(TWO_COLUMNS, height)
    for row in legend_rows(b, entries, TWO_COLUMNS):
        b.legend(figure, row, x=_EDGE, y=height - _EDGE, columns=len(row))
    half = (TWO_COLUMNS - 2 * _EDGE - 0.2) / 2
    top, made = height - _EDGE - LINE - 0.05, []
    for pair, down in zip(pairs, tall, strict=True):
        for number, (title, lines, by) in enumerate(pair):
            x = _EDGE + number * (half + 0.2)
            high = _ROW * len(lines)
            axes = b.new_axes(figure, Box(x + _NAMES, top - 0.24 - high, half - _NAMES - 0.08, high))
            b.text(figure, x, top - 0.16, title, size=NORMAL, bold=True)
            _panel(b, axes, lines, by, labeller)
            made.append(axes)
        top -= down
    b.text(figure, _EDGE, below - 0.06, "\n".join(words), size=SMALL, vertical="top")
    return figure, made


def _panel(b: Backend, axes: Any, lines: Sequence[Line], by: float, labeller: Labeller | None) -> None:
    drawn = []
    for row, line in enumerate(lines):
        scale = by or 100 / abs(line.before.value) if line.before.value or by else float("nan")
        colour, width = (INK, 1.6) if line.beyond_noise else ("#bcbcbc", 0.8)
        values = [scale * line.before.value, scale * line.after.value]
        b.line(axes, values, [row, row], colour=colour, width=width, label="change")
        for side, value, tint, mark, up in (
            (line.before, values[0], _BEFORE, "o", -0.14),
            (line.after, values[1], _AFTER, "s", 0.14),
        ):
            if np.isfinite(side.se):
                ends = [value - 1.96 * scale * side.se, value + 1.96 * scale * side.se]
                b.line(axes, ends, [row + up] * 2, colour=tint, width=0.7, label="interval")
                drawn += ends
            b.line(axes, [value], [row], colour=tint, marker=mark, label="value")
        drawn += values
    known = np.array(drawn)[np.isfinite(drawn)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ticks = series.nice_ticks(low - pad, high + pad, 4)
    b.axis(axes, "x", limits=(low - pad, high + pad), ticks=ticks, labels=series.numbers(ticks))
    names = fit([_name(line, labeller) for line in lines], _NAMES - 0.08, b, SMALL)
    names_down(b, axes, names)


def _name(line: Line, labeller: Labeller | None) -> str:
    task, other, layer = relabel([line.task, line.task_other, line.layer], labeller)
    if line.quantity == "gcd":
        return f"{task} × {other}"
    if line.quantity == "effective_tasks":
        return layer
    return {"owned": task, "loss": f"{task} loss"}.get(line.quantity, f"{task} {line.metric}")
