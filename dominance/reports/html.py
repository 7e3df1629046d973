"""The report of a run as one HTML file that needs no network: light and dark, by keyboard, and on paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.folding import worst
from dominance.analyse.glance import MOST_ROWS, worst_pair
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.summary import percent
from dominance.analyse.verdict.doubts import accounts
from dominance.errors import NothingRecorded
from dominance.plots import inputs, series
from dominance.plots.palette import of_tasks
from dominance.reports import facts, moving
from dominance.reports.charts import Chart, charts
from dominance.reports.figures import ReportData
from dominance.reports.html_style import SCRIPT, STYLE
from dominance.reports.svg import drawn, strip
from dominance.reports.text_flow import runs

_SORTED = ' aria-sort="ascending"'
COLUMNS, MOST_CELLS = 80, 4000
"""Of a map: at most so many columns, fewer where the strips of all layers would have more cells."""


def html(material: ReportData, *, moves: bool | None = None) -> str:
    """The whole file. Findings first; the map of layers over training can be filtered and sorted.

    Args:
        moves: whether Plotly's drawings are in it; None: where it is installed.
    """
    run = material.run
    name = facts.name_of(run)
    try:
        body = [found(material), _map(material), _charts(material, moves)]
    except NothingRecorded as error:
        said = "".join(f"<p>{_code(remark)}</p>" for remark in accounts(run))
        body = [
            f"<section><h2>What was found</h2><p>Nothing could be measured: {escape(str(error))}.</p>{said}</section>"
        ]
    title = f"<h1>Who trains the shared parameters?</h1><p>{escape(name)}: {escape(facts.in_one_line(run))}</p>"
    return page(name, title, body + about(run))


def about(run: xr.DataTree) -> list[str]:
    """How it was recorded, and what the words mean."""
    return [_list("What was recorded", facts.facts(run)), _list("Words", facts.glossary(run))]


def page(name: str, title: str, body: Sequence[str]) -> str:
    """A whole file."""
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>dominance: {escape(name)}</title><style>{STYLE}</style></head>"
    )
    return f"{head}<body><main>{title}{''.join(body)}</main><script>{SCRIPT}</script></body></html>\n"


def found(material: ReportData) -> str:
    verdict = material.verdict
    items = []
    for finding in verdict:
        said = [f"<strong>{_code(text)}</strong>" if not word else f"<em>{word}:</em> {_code(text)}"
                for word, text in finding.lines()]  # fmt: skip
        said += [f"<em>{title}:</em><pre>{escape(diff)}</pre>" for title, diff in finding.diffs()]
        items.append(f'<li class="{"alarm" if finding.alarm else "calm"}">{"<br>".join(said)}</li>')
    remarks = "".join(f"<p>{_code(remark)}</p>" for remark in verdict.remarks)
    notes = "".join(f"<p><small>Note: {escape(note)}.</small></p>" for note in verdict.notes)
    return f"<section><h2>What was found</h2>{remarks}<ol>{''.join(items)}</ol>{notes}</section>"


def _map(material: ReportData) -> str:
    seen = material.seen
    tasks = [str(task) for task in seen.trunk["task"].values]
    colours = of_tasks(len(tasks))[0]
    rows = [_row(material, ALL_SHARED, 0, colours)]
    layers = [str(name) for name in seen.layers["layer"].values]
    order = {name: place for place, name in enumerate(layers, start=1)}
    first = layers if len(layers) <= MOST_ROWS else worst(seen.layers, len(layers))
    rows += [_row(material, name, order[name], colours) for name in dict.fromkeys([*first, *layers])]
    heads = [("layer", "text"), ("over training", ""), ("largest owner", "number"), ("effective tasks", "number"),
             ("most conflict (GCD)", "number")]  # fmt: skip
    by = 0 if first is layers else 3
    cells = [_heading(name, kind, i, sorted_by=i == by) for i, (name, kind) in enumerate(heads)]
    limits = inputs.span(seen.trunk)
    return (
        "<section><h2>Who owns which layer</h2>"
        "<p>Colour: the task that owns most of a layer's parameters (rAU over 80 %), the stronger the more. Beside it, "
        f"at the last step. Training steps {limits[0]:,.0f} to {limits[1]:,.0f}, left to right.</p>"
        f"{legend(tasks, colours)}"
        '<label>Layers that contain <input id="filter" type="search" autocomplete="off"></label>'
        f'<div class="wide"><table id="map"><thead><tr>{"".join(cells)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def legend(tasks: Sequence[str], colours: Sequence[str]) -> str:
    """Which colour is whose."""
    pairs = zip(tasks, colours, strict=True)
    items = "".join(f'<li><i style="--c:{colour}"></i>{escape(task)}</li>' for task, colour in pairs)
    return f'<ul class="legend">{items}</ul>'


def _heading(name: str, kind: str, column: int, *, sorted_by: bool) -> str:
    shown = f"<button data-kind={kind} data-column={column}>{name}</button>" if kind else name
    return f'<th scope="col"{_SORTED if sorted_by else ""}>{shown}</th>'


def _row(material: ReportData, layer: str, order: int, colours: Sequence[str]) -> str:
    """One layer: its strip, and what stands beside it; numbers to sort by in ``data-v``."""
    seen = material.seen
    whole = layer == ALL_SHARED
    table = (seen.trunk if whole else seen.layers).sel(layer=layer)
    owned = table["share"].isel(bucket=-1).transpose("step", "task").values
    tasks = [str(task) for task in table["task"].values]
    count = min(COLUMNS, max(MOST_CELLS // seen.layers.sizes["layer"], 8))
    place = series.columns(table["step"].values, inputs.span(seen.trunk), count)
    cells = [None if i < 0 else cell(owned[i], int(table["step"].values[i]), tasks, colours) for i in place]
    owner, most = largest_owner(owned[-1], tasks)
    effective = float(table["effective_tasks"].values[-1])
    one, other, degree = worst_pair(seen.trunk_conflict if whole else seen.conflict, layer)
    beside = [
        (owner, most),
        (f"{effective:.2f} of {len(tasks)}" if np.isfinite(effective) else "–", effective),
        (f"{one} × {other} {degree:.2f}" if one else "–", degree),
    ]
    shown = "".join(f'<td data-v="{_number(value)}">{escape(text)}</td>' for text, value in beside)
    said = f'<td class="map">{strip(cells)}</td>'
    return f'<tr data-order="{order}"><th scope="row" data-v="{order}">{escape(layer)}</th>{said}{shown}</tr>'


def largest_owner(owned: Any, tasks: Sequence[str]) -> tuple[str, float]:
    """Who owns most of a layer and how much, in words; and its share, from (task,) shares."""
    share = np.nan_to_num(owned)
    best = int(share.argmax())
    return f"{tasks[best]} {percent(float(share[best]))}" if share[best] > 0 else "nobody", float(share[best])


def cell(owned: Any, step: int, tasks: Sequence[str], colours: Sequence[str]) -> tuple[str, float, str] | None:
    if not np.isfinite(owned).any():
        return None
    share = np.nan_to_num(owned)
    best = int(share.argmax())
    who = f"{tasks[best]} owns {percent(float(share[best]))}" if share[best] > 0 else "nobody owns any"
    return colours[best], float(share[best]), f"step {step:,}: {who}"


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def _charts(material: ReportData, moves: bool | None) -> str:
    title = "Effective tasks, and what each task owns, by layer"
    return over_training(charts(material), title, lambda: layer_map(material), moves)


def over_training(lines: Sequence[Chart], title: str, map_of: Callable[[], moving.Figure], moves: bool | None) -> str:
    """Lines; where Plotly is installed they move, and above them stands a map of the layers, to be pointed at."""
    if not (moving.installed() if moves is None else moves):
        return f'<section class="charts"><h2>Over training</h2>{"".join(map(drawn, lines))}</section>'
    figures = {"layers": map_of()} | {f"lines-{i}": moving.lines(chart) for i, chart in enumerate(lines)}
    places = moving.place("layers", title, "The table above says it in words.")
    below = (moving.place(f"lines-{i}", line.title, f"In the end: {line.last}") for i, line in enumerate(lines))
    return (
        f"<section><h2>Over training</h2><p>{TO_EXPLORE}</p>{places}"
        f'<div class="charts">{"".join(below)}</div></section>{moving.packed(figures)}'
    )


TO_EXPLORE = (
    "From left to right: training steps. Point at a drawing for its numbers, drag to enlarge a part, double-click for "
    "all of it again. A click on a name in a legend hides a line."
)


def layer_map(material: ReportData) -> moving.Figure:
    """Layers over training, at every layer of the model."""
    layers, steps, place = columns_of(material)
    tables = {"effective tasks": material.seen.layers["effective_tasks"].transpose("layer", "step").values}
    owned = material.seen.layers["share"].isel(bucket=-1).transpose("task", "layer", "step").values
    tables |= {
        f"owned by {task}": table for task, table in zip(material.seen.layers["task"].values, owned, strict=True)
    }
    shown = {name: np.where(place < 0, np.nan, table[:, place]) for name, table in tables.items()}
    order = worst(material.seen.layers, len(layers))
    return moving.layer_map(layers, steps, shown, list(dict.fromkeys([*order, *layers])))


def columns_of(material: ReportData) -> tuple[list[str], list[float], Any]:
    """Layers; the steps of the columns of a map; and for each column the sample that it shows, or -1."""
    table = material.seen.layers
    limits = inputs.span(material.seen.trunk)
    place = series.columns(table["step"].values, limits, COLUMNS)
    edges = np.linspace(limits[0] - 0.5, limits[1] + 0.5, len(place) + 1)
    return [str(name) for name in table["layer"].values], np.round((edges[1:] + edges[:-1]) / 2, 1).tolist(), place


def _list(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in pairs)
    return f"<section><h2>{title}</h2><dl>{items}</dl></section>"


def _code(text: str) -> str:
    return "".join(f"<code>{escape(part)}</code>" if code else escape(part) for part, code in runs(text))
