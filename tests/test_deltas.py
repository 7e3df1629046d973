"""The three Δ on plain tables; that they reproduce the papers' printed values is in test_deltas_printed.py."""

from __future__ import annotations

import pytest

from dominance.deltas import by_task, delta_big_m, delta_m, delta_p
from dominance.errors import BadData

BASE = {"a": {"x": 10.0, "y": 2.0}, "b": {"z": 0.5}}
NEW = {"a": {"x": 9.0, "y": 3.0}, "b": {"z": 0.6}}
BY_TASK = {"a": {"x": False, "y": False}, "b": {"z": True}}


@pytest.mark.parametrize("directions", [BY_TASK, {"x": False, "y": False, "z": True}])
def test_by_hand(directions: dict[str, bool]) -> None:
    # gains: x +10 %, y -50 %, z +20 %
    assert delta_p(NEW, BASE, directions) == pytest.approx((0.1 - 0.5 + 0.2) / 3)
    assert delta_big_m(NEW, BASE, directions) == pytest.approx((0.1 - 0.5 + 0.2) / 3)
    assert delta_m(NEW, BASE, directions) == pytest.approx(-((0.1 - 0.5) / 2 + 0.2) / 2)


def test_tasks_of_the_baseline_that_were_not_trained_are_not_compared() -> None:
    assert delta_p({"b": {"z": 0.6}}, BASE, {"x": False, "y": False, "z": True}) == pytest.approx(0.2)


def test_directions_go_to_the_tasks_that_have_the_metric() -> None:
    assert by_task(NEW, {"x": False, "z": True}) == {"a": {"x": False}, "b": {"z": True}}
    assert by_task(NEW, BY_TASK) == BY_TASK


def test_nothing_to_compare() -> None:
    with pytest.raises(BadData, match="no metric"):
        delta_p(NEW, BASE, {"auc": True})
    with pytest.raises(BadData, match="no y of task b"):
        delta_m(NEW, BASE, {"b": {"y": True}})
    with pytest.raises(BadData, match="z of task b is 0"):
        delta_m(NEW, {"b": {"z": 0.0}}, {"b": {"z": True}})
