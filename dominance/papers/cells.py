"""What stands in the cells of a table of scores: numbers with their places, changes in percent, what is best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import xarray as xr

from dominance.papers.values import Estimate


def pairs(scores: xr.Dataset) -> list[tuple[str, str]]:
    """(task, metric) that any run has, from ``final_scores``."""
    value = scores["value"]
    return [
        (str(task), str(metric))
        for task in value["task"].values
        for metric in value["metric"].values
        if not bool(value.sel(task=task, metric=metric).isnull().all())
    ]


def direction(scores: Iterable[xr.Dataset], task: str, metric: str) -> str:
    """ "higher" or "lower" is better."""
    return next(
        str(one["direction"].sel(task=task, metric=metric).item()) for one in scores if (task, metric) in pairs(one)
    )


def best(estimates: Sequence[Estimate], way: str) -> Estimate:
    """The one with the best mean; ``way`` is "higher" or "lower"."""
    sign = 1 if way == "higher" else -1
    return max(estimates, key=lambda one: -math.inf if math.isnan(one.mean) else sign * one.mean)


def places(value: float) -> int:
    """Decimal places for four figures, at most four.

    >>> places(0.123), places(12.3), places(1234.0)
    (4, 2, 0)
    """
    if math.isnan(value) or value == 0:
        return 4
    return min(4, max(0, 3 - math.floor(math.log10(abs(value)))))


def percent(found: xr.Dataset | None) -> str:
    """A relative change and its interval, in percent; 0 of what others are compared with."""
    if found is None:
        return "0"
    value, low, high = (100 * float(found[name]) for name in ("delta", "low", "high"))
    return f"{value:+.2f}" + ("" if math.isnan(low) else f" ({low:+.2f} to {high:+.2f})")


def published(numbers: Sequence[float], place: int, places: int) -> str:
    """The number at a place, where there is one."""
    if place >= len(numbers) or math.isnan(numbers[place]):
        return "–"
    return f"{numbers[place]:.{places}f}"
