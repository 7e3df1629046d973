"""Several runs in one HTML file, side by side: what was found in each, who owns which layer, and their courses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from dominance.analyse.folding import fold, folded, populations
from dominance.analyse.glance import MOST_ROWS, worst_pair
from dominance.analyse.groups import ALL_SHARED
from dominance.errors import NothingRecorded
from dominance.plots import inputs, series
from dominance.plots.palette import of_tasks
from dominance.reports import facts, moving
from dominance.reports.charts import across_runs
from dominance.reports.figures import ReportData
from dominance.reports.html import cell, columns_of, found, largest_owner, legend, over_training, page
from dominance.reports.svg import strip

COLUMNS = 96
"""Of the strips of one layer, over all runs."""

Runs = Sequence[tuple[str, ReportData]]


def several(materials: Sequence[ReportData], *, moves: bool | None = None) -> str:
    """The whole file, ``moves`` as in ``html``. A run that cannot be measured says so, and is in no drawing."""
    named = [(facts.name_of(material.run), material) for material in materials]
    measured = []
    rows = []
    for name, material in named:
        try:
            rows.append(_row(name, material))
            measured.append((name, material))
        except NothingRecorded as error:
            rows.append(f'<tr><th scope="row">{escape(name)}</th><td colspan="5">{escape(str(error))}</td></tr>')
    heads = ("run", "what was found first", "largest owner", "effective tasks", "most conflict (GCD)", "recorded")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = [
        f'<section><h2>The runs</h2><div class="wide"><table class="runs"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    ]
    if measured:
        body += [_maps(measured), _charts(measured, moves)]
    for name, material in measured:
        body.append(f"<details><summary>{escape(name)}: all that was found</summary>{found(material)}</details>")
    title = f"<h1>Who trains the shared parameters?</h1><p>{len(named)} runs, side by side.</p>"
    return page(f"{len(named)} runs", title, body)


def _row(name: str, material: ReportData) -> str:
    trunk = material.seen.trunk.sel(layer=ALL_SHARED).isel(step=-1)
    tasks = [str(task) for task in trunk["task"].values]
    owner, _ = largest_owner(trunk["share"].isel(bucket=-1).values, tasks)
    one, other, degree = worst_pair(material.seen.trunk_conflict, ALL_SHARED)
    verdict = material.verdict
    first = next(iter([*verdict.remarks, *(finding.text for finding in verdict)]), "nothing")
    cells = [
        first,
        owner,
        f"{float(trunk['effective_tasks']):.2f} of {len(tasks)}",
        f"{one} × {other} {degree:.2f}" if one else "–",
        facts.in_one_line(material.run),
    ]
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(text)}</td>" for text in cells)}</tr>'


def _maps(runs: Runs) -> str:
    """A table of strips: a row for each layer, or group of neighbours, that some run has; a column for each run."""
    tasks = list(dict.fromkeys(str(task) for _, material in runs for task in material.seen.trunk["task"].values))
    colours = dict(zip(tasks, of_tasks(len(tasks))[0], strict=True))
    layers = dict.fromkeys(str(name) for _, material in runs for name in material.seen.layers["layer"].values)
    groups = fold(list(layers), MOST_ROWS)
    limits = (0.0, max(inputs.span(material.seen.trunk)[1] for _, material in runs))
    count = max(COLUMNS // len(runs), 8)
    columns = [_strips(material, groups, limits, count, colours) for _, material in runs]
    rows = "".join(
        f'<tr><th scope="row">{escape(layer)}</th>{"".join(column.get(layer, "<td>–</td>") for column in columns)}</tr>'
        for layer in (ALL_SHARED, *groups)
    )
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("layer", *(name for name, _ in runs)))
    return (
        "<section><h2>Who owns which layer</h2><p>Colour: the task that owns most of a layer's parameters "
        "(rAU over 80 %), the stronger the more; below it, the owner at the last step. All strips have the same axis, "
        f"training steps 0 to {limits[1]:,.0f}.</p>{legend(tasks, list(colours.values()))}"
        f'<div class="wide"><table class="runs"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</section>"
    )


def _strips(
    material: ReportData, groups: dict[str, list[str]], limits: tuple[float, float], count: int, colours: dict[str, str]
) -> dict[str, str]:
    """Layer or group -> its cell of the table, for one run."""
    seen = material.seen
    has = set(seen.layers["layer"].values.astype(str))
    mine = {label: inside for label, names in groups.items() if (inside := [name for name in names if name in has])}
    tables = [seen.trunk, folded(seen.layers, mine, populations(material.run))]
    tasks = [str(task) for task in seen.trunk["task"].values]
    looks = [colours[task] for task in tasks]
    found = {}
    for table in tables:
        steps = table["step"].values
        place = series.columns(steps, limits, count)
        owned = table["share"].isel(bucket=-1).transpose("layer", "step", "task").values
        for layer, of_layer in zip(table["layer"].values.astype(str), owned, strict=True):
            cells = [None if i < 0 else cell(of_layer[i], int(steps[i]), tasks, looks) for i in place]
            owner, _ = largest_owner(of_layer[-1], tasks)
            found[str(layer)] = f'<td class="map">{strip(cells)}{escape(owner)}</td>'
    return found


def _charts(runs: Runs, moves: bool | None) -> str:
    return over_training(across_runs(runs), "Effective tasks by layer, of each run", lambda: _layer_maps(runs), moves)


def _layer_maps(runs: Runs) -> moving.Figure:
    layers = list(dict.fromkeys(str(name) for _, material in runs for name in material.seen.layers["layer"].values))
    columns: list[tuple[Any, Any]] = []
    for _, material in runs:
        names, steps, place = columns_of(material)
        values = material.seen.layers["effective_tasks"].transpose("layer", "step").values
        shown = dict(zip(names, np.where(place < 0, np.nan, values[:, place]), strict=True))
        columns.append((steps, np.stack([shown.get(layer, np.full(len(steps), np.nan)) for layer in layers])))
    most = max(material.seen.trunk.sizes["task"] for _, material in runs)
    return moving.maps_beside([name for name, _ in runs], layers, columns, most)
