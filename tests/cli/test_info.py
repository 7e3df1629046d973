from __future__ import annotations

import math

import pytest

from dominance_cli.info import _weighted


@pytest.mark.parametrize(
    ("told", "last", "line"),
    [
        ([1.0, 1.0], [1.0, 1.0], "price, rating"),
        ([1.0, 1.0], [0.25, 0.25], "price, rating"),  # gradients that were clipped
        ([1.0, 0.5], [0.1, 0.05], "price (weight 1), rating (weight 0.5)"),
        ([1.0, 1.0], [0.2, 0.8], "price (weight 0.2), rating (weight 0.8)"),  # weights that are learned
        ([None, None], [1.0, 0.5], "price (weight 1), rating (weight 0.5)"),
        ([None, None], [math.nan, 2.0], "price, rating (weight 2)"),
        ([1.0, 1.0], [math.nan, 1.0], "price, rating"),  # no batch of price at the last step
        ([1.0, 0.0], [2.0, 0.0], "price (weight 2), rating (weight 0)"),
    ],
)
def test_tasks_and_their_weights(told: list[float | None], last: list[float], line: str) -> None:
    tasks = [
        {"name": name, "weight": before, "last_weight": now}
        for name, before, now in zip(("price", "rating"), told, last, strict=True)
    ]
    assert _weighted(tasks) == line
