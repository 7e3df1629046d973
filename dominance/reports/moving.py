"""Drawings that can be pointed at, zoomed and filtered, by Plotly: packed into the page, which needs no network."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.util import find_spec
from typing import Any

import numpy as np

from dominance.plots import series
from dominance.plots.palette import SEQUENTIAL
from dominance.reports.charts import Chart

MOST_POINTS = 400
"""Of a line."""
ROW, MOST_ROWS = 13, 50
"""Pixels of a layer in a map, and so many layers that it is as high as it gets: enlarged, it names all."""

_DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_SCALE = [[i / (len(SEQUENTIAL) - 1), colour] for i, colour in enumerate(SEQUENTIAL)]

SCRIPT = """
(async()=>{
const unpack=async id=>new Response(new Blob([Uint8Array.from(atob(document.getElementById(id).textContent),
  c=>c.charCodeAt(0))]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
const code=document.createElement("script");code.textContent=await unpack("plotly");document.head.append(code);
const figures=JSON.parse(await unpack("figures"));
const dark=matchMedia("(prefers-color-scheme:dark)");
const look=()=>{const s=getComputedStyle(document.documentElement),axis={gridcolor:s.getPropertyValue("--rule"),
  zerolinecolor:s.getPropertyValue("--rule")};
  return {template:{layout:{font:{color:s.getPropertyValue("--ink")},xaxis:axis,yaxis:axis}}}};
for(const [id,f] of Object.entries(figures)){
  await new Promise(done=>setTimeout(done));
  await Plotly.newPlot(id,f.data,Object.assign(f.layout,look()),{responsive:true,displayModeBar:false})}
dark.addEventListener("change",()=>Object.keys(figures).forEach(id=>Plotly.relayout(id,look())));
document.documentElement.dataset.drawn=Object.keys(figures).length;
})();
"""

Figure = dict[str, Any]


def installed() -> bool:
    """Whether Plotly is there; it is not loaded."""
    return find_spec("plotly") is not None


def place(name: str, title: str, said: str) -> str:
    """Where the figure ``name`` will be, with what a screen reader says of it."""
    what = escape(f"{title}. {said}")
    drawing = f'<div id="{name}" role="img" aria-label="{what}"></div>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}</figure>"


def packed(figures: Mapping[str, Figure]) -> str:
    """Plotly, the figures by their names, and the few lines that put them in their places."""
    data = _pack(json.dumps(figures, separators=(",", ":"), allow_nan=False).encode())
    return (
        f'<script type="text/plain" id="plotly">{_library()}</script>'
        f'<script type="text/plain" id="figures">{data}</script><script>{SCRIPT}</script>'
        "<noscript><p>The drawings above need JavaScript.</p></noscript>"
    )


@cache
def _library() -> str:
    from plotly.offline import get_plotlyjs

    return _pack(get_plotlyjs().encode())


def _pack(data: bytes) -> str:
    return b64encode(gzip.compress(data, 9, mtime=0)).decode()


def lines(chart: Chart) -> Figure:
    """Lines over training; a click in the legend hides one, a double click all others."""
    traces: list[Figure] = []
    for curve in chart.curves:
        kept = series.thin(len(curve.x), MOST_POINTS)
        x, y = series.opened(np.asarray(curve.x)[kept], np.asarray(curve.y, float)[kept], 1)
        look = {"color": curve.colour, "dash": _DASHES[curve.dashes], "width": 1.7}
        mode = "lines" if len(kept) > 1 else "markers"
        traces.append({"name": curve.name, "x": x.tolist(), "y": _numbers(y, 5), "line": look, "mode": mode})
    layout = _layout(chart.limits, 290) | {
        "hovermode": "x unified",
        "yaxis": {"type": "log" if chart.log else "linear", "exponentformat": "e", "automargin": True},
        "legend": {"orientation": "h", "y": -0.15},
        "showlegend": True,
    }
    if chart.reference is not None:
        level = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": chart.reference, "y1": chart.reference}
        layout["shapes"] = [level | {"line": {"dash": "dot", "width": 1, "color": "#8a8a8a"}}]
    return {"data": traces, "layout": layout}


def layer_map(
    layers: Sequence[str], steps: Sequence[float], values: Mapping[str, Any], worst_first: Sequence[str]
) -> Figure:
    """Layers over training: one of ``values`` at a time, chosen from a menu; the order of layers from another.

    Args:
        layers: in the order of the model.
        steps: the columns.
        values: name -> (layer, column): the first is between 1 and the number of tasks, the others are shares.
        worst_first: the layers in another order.
    """
    traces: list[Figure] = []
    for i, (name, table) in enumerate(values.items()):
        share = i > 0
        limits = [0, 100] if share else [1, max(len(values) - 1, 2)]
        shown = np.round(100 * table) if share else np.round(table, 2)
        unit = "%{z} %" if share else "%{z} effective tasks"
        traces.append(
            {
                "type": "heatmap", "x": list(steps), "y": list(layers), "z": [_numbers(row, 4) for row in shown],
                "zmin": limits[0], "zmax": limits[1], "colorscale": _SCALE, "reversescale": not share,
                "visible": not share, "hovertemplate": f"%{{y}}<br>step %{{x}}: {unit}<extra>{name}</extra>",
                "colorbar": {"thickness": 12, "outlinewidth": 0, "ticksuffix": " %" if share else ""},
            }
        )  # fmt: skip
    choose = [
        {"label": name, "method": "restyle", "args": [{"visible": [j == i for j in range(len(values))]}]}
        for i, name in enumerate(values)
    ]
    # Plotly draws the first category at the bottom.
    order = [
        {"label": label, "method": "relayout", "args": [{"yaxis.categoryarray": list(reversed(names))}]}
        for label, names in (("as in the model", layers), ("worst first", worst_first))
    ]
    layout = _layout((steps[0], steps[-1]), 140 + ROW * min(max(len(layers), 8), MOST_ROWS)) | {
        "yaxis": {
            "type": "category", "categoryorder": "array", "categoryarray": list(reversed(layers)),
            "automargin": True, "tickfont": {"size": 10}, "nticks": MOST_ROWS,
        },
        "updatemenus": [_menu(choose, 0.0), _menu(order, 0.5)],
        "margin": {"l": 10, "r": 10, "t": 60, "b": 40},
    }  # fmt: skip
    return {"data": traces, "layout": layout}


def maps_beside(names: Sequence[str], layers: Sequence[str], columns: Sequence[tuple[Any, Any]], most: int) -> Figure:
    """Effective tasks of the layers of several runs, side by side: (steps, (layer, column)) each."""
    count = len(names)
    traces, axes, titles = [], {}, []
    for i, (name, (steps, table)) in enumerate(zip(names, columns, strict=True)):
        mark = "" if i == 0 else str(i + 1)
        width, gap = 1 / count, 0.15 / count
        domain = [i * width, (i + 1) * width - gap]
        axes[f"xaxis{mark}"] = {"domain": domain, "anchor": "y", "nticks": 3, "tickangle": 0}
        titles.append(
            {"text": escape(name), "x": domain[0], "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left",
             "yanchor": "bottom", "showarrow": False, "font": {"size": 10}, "textangle": -20 if count > 4 else 0}
        )  # fmt: skip
        traces.append(
            {
                "type": "heatmap", "x": list(steps), "y": list(layers), "z": [_numbers(row, 3) for row in table],
                "zmin": 1, "zmax": most, "colorscale": _SCALE, "reversescale": True, "showscale": i == count - 1,
                "xaxis": f"x{mark}", "hovertemplate": f"%{{y}}<br>step %{{x}}: %{{z}}<extra>{escape(name)}</extra>",
                "colorbar": {"thickness": 12, "outlinewidth": 0},
            }
        )  # fmt: skip
    layout = _layout(None, 140 + ROW * min(max(len(layers), 8), MOST_ROWS)) | axes
    layout["yaxis"] = {
        "type": "category", "categoryorder": "array", "categoryarray": list(reversed(layers)), "automargin": True,
        "tickfont": {"size": 10}, "nticks": MOST_ROWS,
    }  # fmt: skip
    layout |= {"annotations": titles, "margin": {"l": 10, "r": 60, "t": 90, "b": 40}}
    return {"data": traces, "layout": layout}


def _menu(buttons: list[Figure], x: float) -> Figure:
    return {"buttons": buttons, "x": x, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 8}}


def _layout(limits: tuple[float, float] | None, height: int) -> Figure:
    clear = "rgba(0,0,0,0)"
    return {
        "height": height, "paper_bgcolor": clear, "plot_bgcolor": clear, "font": {"size": 12},
        "margin": {"l": 10, "r": 10, "t": 10, "b": 40},
        "xaxis": {} if limits is None else {"range": list(limits)},
    }  # fmt: skip


def _numbers(values: Any, digits: int) -> list[float | None]:
    """For JSON, which knows no NaN."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.asarray(values, float).tolist()]
