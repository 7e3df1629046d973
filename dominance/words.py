"""What is said to a person in the same words by whoever says it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def weighted(weights: Mapping[str, float | None]) -> str:
    """Tasks with their weights in the loss, as they are said to a person: weights only where not all are 1.

    Args:
        weights: task -> weight; None or NaN where it is not known.

    >>> weighted({"price": 1.0, "rating": 1.0}), weighted({"price": 1.0, "rating": 0.5, "sold": None})
    ('price, rating', 'price (weight 1), rating (weight 0.5), sold')
    """
    if all(weight == 1 for weight in weights.values()):
        return ", ".join(weights)
    return ", ".join(
        task if weight is None or math.isnan(weight) else f"{task} (weight {weight:.3g})"
        for task, weight in weights.items()
    )


def held(overhead: Mapping[str, Any]) -> str:
    """What a run says of the time that its recording took.

    >>> held({"seconds": 3.1, "share": 0.0517, "asked": 0.05})
    '5.2 % of the training (5 % asked), 3.1 s'
    """
    asked = "" if overhead.get("asked") is None else f" ({100 * overhead['asked']:.3g} % asked)"
    return f"{100 * overhead['share']:.1f} % of the training{asked}, {overhead['seconds']:.1f} s"


def scheduled(schedule: Mapping[str, Any]) -> str:
    """How often a run was to be recorded.

    >>> scheduled({"every": 10, "burst": 1, "thins": True}), scheduled({"every": 4, "burst": 2})
    ('one step in 10, fewer as it goes on', 'one step in 4, 2 in a row')
    """
    every, burst = schedule["every"], schedule["burst"]
    if every == 1:
        return "every step"
    often = f"one step in {every}" + (f", {burst} in a row" if burst > 1 else "")
    if (longest := schedule.get("longest_burst")) is not None:
        return f"{often}, later up to {longest}; more at first"
    return f"{often}, fewer as it goes on" if schedule.get("thins") else often


def rates_said(groups: Sequence[Mapping[str, Any]]) -> str:
    """The learning rate of each group that has one: what a scheduler found there; or the range that it goes through,
    where it has noted the largest, as OneCycleLR does, which puts one of its own in the place of what it found.

    >>> rates_said([{"lr": 0.1}, {"lr": 0.0004, "max_lr": 0.01, "min_lr": 4e-08}])
    '0.1, 0.0004 to 0.01'
    """
    pairs = [(group.get("lr"), group.get("max_lr")) for group in groups]
    return ", ".join(
        f"{lr:g} to {most:g}" if isinstance(most, int | float) and most > lr else f"{lr:g}"
        for lr, most in pairs
        if isinstance(lr, int | float)
    )
