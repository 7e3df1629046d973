"""What is said to a person in the same words by whoever says it."""

from __future__ import annotations

import math
from collections.abc import Mapping


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
