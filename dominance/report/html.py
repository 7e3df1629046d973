"""The report of a run as one HTML file: no network, no library; light and dark, by keyboard, and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from dominance.analyse.folding import worst
from dominance.analyse.glance import MOST_ROWS, worst_pair
from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.summary import percent
from dominance.analyse.verdict.doubts import accounts
from dominance.errors import NothingRecorded
from dominance.plots import inputs, series
from dominance.plots.palette import DASHES, lines_of, of_tasks
from dominance.report import facts
from dominance.report.figures import ReportData
from dominance.report.html_style import SCRIPT, STYLE
from dominance.report.svg import Curve, chart, strip
from dominance.report.text_flow import runs

_SORTED = ' aria-sort="ascending"'
COLUMNS, MOST_PAIRS, MOST_CURVES = 80, 4, 12
"""Of the map; pairs and tasks that have lines."""


def html(material: ReportData) -> str:
    """The whole file. Findings first; the map of layers over training can be filtered and sorted."""
    run = material.run
    name = facts.name_of(run)
    try:
        body = [_verdict(material), _map(material), _charts(material)]
    except NothingRecorded as error:
        said = "".join(f"<p>{_code(remark)}</p>" for remark in accounts(run))
        body = [
            f"<section><h2>What was found</h2><p>Nothing could be measured: {escape(str(error))}.</p>{said}</section>"
        ]
    body += [_list("What was recorded", facts.facts(run)), _list("Words", facts.glossary(run))]
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>dominance: {escape(name)}</title><style>{STYLE}</style></head>"
    )
    title = f"<h1>Who trains the shared parameters?</h1><p>{escape(name)}: {escape(facts.in_one_line(run))}</p>"
    return f"{head}<body><main>{title}{''.join(body)}</main><script>{SCRIPT}</script></body></html>\n"


def _verdict(material: ReportData) -> str:
    found = material.verdict
    items = []
    for finding in found:
        said = [f"<strong>{_code(text)}</strong>" if not word else f"<em>{word}:</em> {_code(text)}"
                for word, text in finding.lines()]  # fmt: skip
        items.append(f'<li class="{"alarm" if finding.alarm else "calm"}">{"<br>".join(said)}</li>')
    remarks = "".join(f"<p>{_code(remark)}</p>" for remark in found.remarks)
    notes = "".join(f"<p><small>Note: {escape(note)}.</small></p>" for note in found.notes)
    return f"<section><h2>What was found</h2>{remarks}<ol>{''.join(items)}</ol>{notes}</section>"


def _map(material: ReportData) -> str:
    seen = material.seen
    tasks = [str(task) for task in seen.trunk["task"].values]
    colours = of_tasks(len(tasks))[0]
    legend = "".join(
        f'<li><i style="--c:{colour}"></i>{escape(task)}</li>' for task, colour in zip(tasks, colours, strict=True)
    )
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
        f'<ul class="legend">{legend}</ul>'
        '<label>Layers that contain <input id="filter" type="search" autocomplete="off"></label>'
        f'<div class="wide"><table id="map"><thead><tr>{"".join(cells)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


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
    place = series.columns(table["step"].values, inputs.span(seen.trunk), COLUMNS)
    cells = [None if i < 0 else _cell(owned[i], int(table["step"].values[i]), tasks, colours) for i in place]
    last = np.nan_to_num(owned[-1])
    best = int(last.argmax())
    owner = f"{tasks[best]} {percent(float(last[best]))}" if last[best] > 0 else "nobody"
    effective = float(table["effective_tasks"].values[-1])
    one, other, degree = worst_pair(seen.trunk_conflict if whole else seen.conflict, layer)
    beside = [
        (owner, last[best]),
        (f"{effective:.2f} of {len(tasks)}" if np.isfinite(effective) else "–", effective),
        (f"{one} × {other} {degree:.2f}" if one else "–", degree),
    ]
    shown = "".join(f'<td data-v="{_number(value)}">{escape(text)}</td>' for text, value in beside)
    said = f'<td class="map">{strip(cells)}</td>'
    return f'<tr data-order="{order}"><th scope="row" data-v="{order}">{escape(layer)}</th>{said}{shown}</tr>'


def _cell(owned: Any, step: int, tasks: Sequence[str], colours: Sequence[str]) -> tuple[str, float, str] | None:
    if not np.isfinite(owned).any():
        return None
    share = np.nan_to_num(owned)
    best = int(share.argmax())
    who = f"{tasks[best]} owns {percent(float(share[best]))}" if share[best] > 0 else "nobody owns any"
    return colours[best], float(share[best]), f"step {step:,}: {who}"


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""


def _charts(material: ReportData) -> str:
    drawn = _conflict(material) + _losses(material)
    return f'<section class="charts"><h2>Do they conflict, do they learn?</h2>{drawn}</section>'


def _conflict(material: ReportData) -> str:
    data = material.seen.trunk_conflict.sel(layer=ALL_SHARED)
    tasks = [str(task) for task in data["task"].values]
    mean = data["mean_gcd"].transpose("task", "task_other").values
    pairs = [(i, j) for i, j in zip(*np.triu_indices(len(tasks), 1), strict=True) if np.isfinite(mean[i, j])]
    pairs = sorted(pairs, key=lambda pair: -mean[pair])[:MOST_PAIRS]
    values = data["gcd"].transpose("task", "task_other", "step").values
    x = data["step"].values.astype(float)
    window = series.window_of(len(x))
    colours = ("#8a8a8a", "#a83a0c", "#5a8cc4", "#6f8f3a")
    curves = [
        Curve(f"{tasks[i]} × {tasks[j]}", series.smooth(values[i, j], window), colour, dashes)
        for (i, j), colour, dashes in zip(pairs, colours, DASHES, strict=False)
    ]
    return chart(
        "GCD of the pairs that conflict most: over 1 they pull apart", x, curves, inputs.span(data), reference=1
    )


def _losses(material: ReportData) -> str:
    data = inputs.group(material.run, "loss")
    x = data["step"].values.astype(float)
    window = series.window_of(len(x))
    tasks = [str(task) for task in data["task"].values]
    curves = []
    for task, (colour, dashes) in list(zip(tasks, lines_of(len(tasks)), strict=True))[:MOST_CURVES]:
        loss = data["loss"].sel(task=task).values
        first = loss[: max(1, len(loss) // 10)]
        start = float(np.mean(first[np.isfinite(first)])) if np.isfinite(first).any() else float("nan")
        if start > 0:
            curves.append(Curve(task, series.smooth(100 * loss / start, window), colour, dashes))
    return chart("Losses, % of their start", x, curves, inputs.span(data), reference=100)


def _list(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(words)}</dd>" for name, words in pairs)
    return f"<section><h2>{title}</h2><dl>{items}</dl></section>"


def _code(text: str) -> str:
    return "".join(f"<code>{escape(part)}</code>" if code else escape(part) for part, code in runs(text))
