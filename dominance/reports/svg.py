"""Drawings as inline SVG: strips of colour over training, and lines. No script, no library; each part has a tooltip."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from dominance.plots import series
from dominance.reports.charts import Chart

WIDTH, HEIGHT, LEFT, BELOW = 460, 180, 46, 22
MOST_POINTS = 240

_DASHES = {"-": "", "--": "6 3", ":": "1.5 2.5", "-.": "7 3 1.5 3"}


def strip(cells: Sequence[tuple[str, float, str] | None]) -> str:
    """A row of equally wide cells, neighbours that look and say the same as one.

    Args:
        cells: (colour, opacity, what it says) each; None stays empty.
    """
    parts = []
    start = 0
    for i in range(1, len(cells) + 1):
        if i < len(cells) and cells[i] == cells[start]:
            continue
        cell = cells[start]
        if cell is not None:
            colour, opacity, says = cell
            parts.append(
                f'<rect x="{start}" width="{i - start}" height="1" fill="{colour}" fill-opacity="{opacity:.2f}">'
                f"<title>{escape(says)}</title></rect>"
            )
        start = i
    box = f'viewBox="0 0 {len(cells)} 1" preserveAspectRatio="none"'
    return f'<svg class="strip" {box} aria-hidden="true">{"".join(parts)}</svg>'


def drawn(chart: Chart) -> str:
    """Lines over training steps with their legend; a gap where steps were not recorded."""
    known = np.concatenate([np.asarray(curve.y, dtype=float) for curve in chart.curves] or [np.zeros(0)])
    known = known[np.isfinite(known)]
    known = known if chart.reference is None else np.append(known, chart.reference)
    scaled: Any = np.log10 if chart.log else np.asarray
    known = scaled(known)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high, limits = low - pad, high + pad, chart.limits

    def across(values: Any) -> Any:
        return LEFT + (WIDTH - LEFT - 6) * (np.asarray(values) - limits[0]) / (limits[1] - limits[0])

    def up(values: Any) -> Any:
        return 6 + (HEIGHT - BELOW - 6) * (high - scaled(values)) / (high - low)

    title = f"{chart.title}. At the end: {chart.last}"
    parts = [f"<title>{escape(title)}</title>"]
    ticks = series.log_ticks(10**low, 10**high, 5) if chart.log else series.nice_ticks(low, high, 5)
    parts += _axes(across, up, limits, ticks)
    if chart.reference is not None:
        parts.append(f'<path class="ref" d="M{LEFT} {up(chart.reference):.1f}H{WIDTH - 6}"/>')
    for curve in chart.curves:
        place, y = series.opened(curve.x, np.asarray(curve.y, dtype=float), 1)
        path = _path(across(place), up(y))
        dash = f' stroke-dasharray="{_DASHES[curve.dashes]}"' if _DASHES[curve.dashes] else ""
        parts.append(
            f'<path class="line" d="{path}" stroke="{curve.colour}"{dash}><title>{escape(curve.name)}</title></path>'
        )
    legend = "".join(f'<li><i style="--c:{curve.colour}"></i>{escape(curve.name)}</li>' for curve in chart.curves)
    picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<figure><figcaption>{escape(chart.title)}</figcaption>{picture}<ul class="legend">{legend}</ul></figure>'


def _axes(across: Any, up: Any, x: tuple[float, float], y: Any) -> list[str]:
    bottom = HEIGHT - BELOW
    parts = [f'<path class="axis" d="M{LEFT} 6V{bottom}H{WIDTH - 6}"/>']
    for ticks, flat in ((series.nice_ticks(*x, 5, whole=True), True), (y, False)):
        for tick, label in zip(ticks, series.numbers(ticks), strict=True):
            at = f'x="{across(tick):.1f}" y="{bottom + 14}" text-anchor="middle"' if flat else ""
            at = at or f'x="{LEFT - 5}" y="{up(tick) + 3.5:.1f}" text-anchor="end"'
            parts.append(f"<text {at}>{label}</text>")
    return parts


def _path(x: Any, y: Any) -> str:
    kept = series.thin(len(x), MOST_POINTS)
    path, pen = [], "M"
    for i in kept:
        if not np.isfinite(y[i]):
            pen = "M"
            continue
        path.append(f"{pen}{x[i]:.1f} {y[i]:.1f}")
        pen = "L"
    return "".join(path)
