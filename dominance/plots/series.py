"""What stands between a series and a drawing of it: gaps, thinning, smoothing, ticks. Numpy only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def thin(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the indices 0..count-1, evenly spaced, the first and the last among them."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.round(np.linspace(0, count - 1, most)).astype(np.int64))


def pieces(x: Any, valid: Any) -> list[tuple[Floats, NDArray[np.int64]]]:
    """Runs of valid samples as (x, indices); a lone sample is widened to half the way to its neighbours on both sides.

    Every returned piece has at least two points, so that an area can be drawn through it.
    """
    x, valid = np.asarray(x, dtype=float), np.asarray(valid, dtype=bool)
    half = 0.5 * float(np.diff(x).min()) if len(x) > 1 else 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], valid.astype(np.int8), [0]])))
    out = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        index = np.arange(start, stop)
        if len(index) == 1:
            out.append((np.array([x[start] - half, x[start] + half]), np.array([start, start])))
        else:
            out.append((x[index], index))
    return out


def span(x: Any) -> tuple[float, float]:
    """Limits of the axis for these steps; a single one gets half a step on both sides."""
    x = np.asarray(x, dtype=float)
    return (float(x[0]) - 0.5, float(x[0]) + 0.5) if len(x) == 1 else (float(x[0]), float(x[-1]))


def smooth(y: Any, window: int) -> Floats:
    """Centred mean over ``window`` samples (odd), over what there is of them; NaN where the sample itself is NaN."""
    y = np.asarray(y, dtype=float)
    ones = np.ones(window)
    known = np.isfinite(y)
    total = np.convolve(np.where(known, y, 0.0), ones)[window // 2 : window // 2 + len(y)]
    count = np.convolve(known.astype(float), ones)[window // 2 : window // 2 + len(y)]
    return np.where(known, total / np.maximum(count, 1.0), np.nan)


def window_of(count: int) -> int:
    """An odd window of about a twentieth of the samples, at least 1."""
    return max(1, count // 20) | 1


def binned(x: Any, y: Any, most: int) -> tuple[Floats, Floats, Floats, Floats]:
    """x, mean, lowest and highest of at most ``most`` bins of consecutive samples; NaN where a bin is all NaN."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    parts = np.array_split(np.arange(len(x)), min(most, len(x)))
    out = np.full((4, len(parts)), np.nan)
    for i, part in enumerate(parts):
        known = y[part][np.isfinite(y[part])]
        out[0, i] = x[part].mean()
        if len(known):
            out[1:, i] = known.mean(), known.min(), known.max()
    return out[0], out[1], out[2], out[3]


def lone(y: Any) -> NDArray[np.bool_]:
    """Finite samples with no finite neighbour: a line through them would show nothing."""
    known = np.isfinite(np.asarray(y, dtype=float))
    beside = np.concatenate([[False], known[:-1]]) | np.concatenate([known[1:], [False]])
    return np.asarray(known & ~beside)


def nice_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """At most ``most`` round numbers in [low, high], at distances of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5, 10, 20, 50):
        step = factor * power
        if whole:
            step = max(1.0, step)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [number * step for number in range(first, last + 1)]
    return [low]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten in [low, high], thinned to at most ``most``; [low, high] when there are none."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = list(range(first, last + 1))
    every = -(-len(powers) // most) if powers else 1
    return [10.0**power for power in powers[::every]] or [low, high]


def number(value: float, step: float | None = None) -> str:
    """A short decimal: as many places as ticks ``step`` apart need, else three figures; thousands as k, M, G.

    >>> number(20000.0), number(0.25, 0.25), number(1.5e-7), number(0.0)
    ('20k', '0.25', '1.5e-7', '0')
    """
    if value == 0:
        return "0"
    size = max(abs(value), abs(step or 0.0))
    if size < 1e-3:
        mantissa, power = f"{value:.3g}", ""
        if "e" in mantissa:
            mantissa, power = mantissa.split("e")
            return f"{mantissa}e{int(power)}"
        return mantissa
    for unit, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= (1e4 if sign == "k" else unit):
            places = 0 if step is None else max(0, -math.floor(math.log10(abs(step) / unit) + 1e-9))
            scaled = f"{value / unit:.3g}" if step is None else f"{value / unit:.{places}f}"
            return scaled + sign
    if step is None:
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    text = f"{value:.{max(0, -math.floor(math.log10(abs(step)) + 1e-9))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def numbers(ticks: list[float]) -> list[str]:
    """Labels of ticks, all to the same number of places."""
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else None
    return [number(tick, step) for tick in ticks]
