"""What stands between a series and a drawing of it: gaps, thinning, smoothing, ticks. Numpy only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


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


def opened(x: Any, y: Any, count: int) -> tuple[Floats, Floats]:
    """x, and y (..., sample), with ``count`` samples of NaN in every gap: neither line nor mean goes across it.

    A gap is more than five times as wide as the distances before and after it, and than a twentieth of the whole: steps
    that are recorded in bursts have them.

    >>> x, y = opened([0, 1, 2, 90, 91, 92], [5, 6, 7, 8, 9, 10], 1)
    >>> x.tolist(), y.tolist()
    ([0.0, 1.0, 2.0, 46.0, 90.0, 91.0, 92.0], [5.0, 6.0, 7.0, nan, 8.0, 9.0, 10.0])
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    after = gaps(x)
    where = np.repeat(after + 1, count)
    parts = np.arange(1, count + 1) / (count + 1)
    inside = x[after, None] + (x[after + 1] - x[after])[:, None] * parts
    return np.insert(x, where, inside.ravel()), np.insert(y, where, np.nan, axis=-1)


def gaps(x: Any) -> NDArray[np.int64]:
    """Indices of the samples after which there is a gap, as :func:`opened` has it."""
    x = np.asarray(x, dtype=float)
    wide = np.diff(x)
    if len(wide) < 2:
        return np.empty(0, dtype=np.int64)
    beside = np.maximum(np.concatenate([[0.0], wide[:-1]]), np.concatenate([wide[1:], [0.0]]))
    return np.flatnonzero((wide > 5 * beside) & (wide > 0.05 * (x[-1] - x[0])))


def columns(x: Any, limits: tuple[float, float], most: int) -> NDArray[np.int64]:
    """The sample that each of at most ``most`` equally wide columns of the axis shows, -1 where none was taken there.

    That is the last sample inside the column; without one the nearest, but in a gap and after the last sample none. A
    step is one wide.

    >>> columns([0, 1, 2, 9, 10], (0, 11), 12)
    array([ 0,  1,  2, -1, -1, -1, -1, -1, -1,  3,  4, -1])
    """
    x = np.asarray(x, dtype=float)
    low, high = limits[0] - 0.5, limits[1] + 0.5
    edges = np.linspace(low, high, max(1, min(most, round(high - low))) + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    last = np.searchsorted(x, edges[1:], side="right") - 1
    inside = (last >= 0) & (x[last] >= edges[:-1])
    outside = (middle < x[0]) | (middle > x[-1]) | np.isin(np.searchsorted(x, middle) - 1, gaps(x))
    return np.where(inside, last, np.where(outside, -1, np.abs(x[:, None] - middle).argmin(axis=0)))


def column_places(steps: Any, limits: tuple[float, float], count: int) -> list[float]:
    """Where steps lie on an axis of ``count`` columns.

    >>> column_places([0, 10], (0, 19), 10)
    [0.25, 5.25]
    """
    low, high = limits[0] - 0.5, limits[1] + 0.5
    return [count * (float(step) - low) / (high - low) for step in steps]


def span(x: Any, taken: int = 0) -> tuple[float, float]:
    """Limits of the axis for these steps, up to the last of ``taken``; a single one gets half a step on both sides.

    >>> span([0, 10, 20]), span([0, 10, 20], taken=30)
    ((0.0, 20.0), (0.0, 29.0))
    """
    x = np.asarray(x, dtype=float)
    first, last = float(x[0]), max(float(x[-1]), float(taken - 1))
    return (first, last) if last > first else (first - 0.5, first + 0.5)


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
    """x, mean, lowest and highest of at most ``most`` bins of consecutive samples; NaN where a bin is all NaN.

    If any bin has more than one sample, all have: the range of a single one cannot be seen.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    parts = np.array_split(np.arange(len(x)), len(x) // math.ceil(len(x) / most))
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


def number(value: float) -> str:
    """Three figures, short: thousands as k, M, G, T; small ones with an exponent.

    >>> number(20000.0), number(1500.0), number(0.25), number(1.5e-7), number(0.0)
    ('20k', '1500', '0.25', '1.5e-7', '0')
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        mantissa, _, power = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(power)}" if power else mantissa
    scale, sign = _unit(abs(value))
    if scale == 1:
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value / scale:.4g}{sign}"


def numbers(ticks: list[float]) -> list[str]:
    """Labels of evenly spaced ticks, all in the same unit and to as many places as they need.

    >>> numbers([0.0, 5000.0, 10000.0]), numbers([0.5, 0.75, 1.0]), numbers([0.0, 2e-5, 4e-5])
    (['0', '5k', '10k'], ['0.5', '0.75', '1'], ['0', '2e-5', '4e-5'])
    """
    if len(ticks) < 2:
        return [number(tick) for tick in ticks]
    step, largest = abs(ticks[1] - ticks[0]), max(abs(tick) for tick in ticks)
    scale, sign = _unit(largest)
    if largest < 1e-3:
        power = math.floor(math.log10(largest) + 1e-9)
        scale, sign = 10.0**power, f"e{power}"
    places = next(n for n in range(16) if n == 15 or all(_near(tick / scale, n, step / scale) for tick in ticks))
    out = []
    for tick in ticks:
        text = f"{tick / scale:.{places}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        out.append("0" if float(text) == 0 else text + sign)
    return out


def _near(value: float, places: int, step: float) -> bool:
    return abs(round(value, places) - value) < 1e-3 * step


def _unit(size: float) -> tuple[float, str]:
    return next(((scale, sign) for scale, sign in _UNITS if size >= scale and size >= 1e4), (1.0, ""))
