"""final_scores: which of the logged values count, and what is said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import make_run
from studies import DIRECTIONS, scored

from dominance.analyse.study.scores import events, final_scores
from dominance.errors import BadOption, NothingRecorded


def logged(*values: float, **attrs: Any) -> Any:
    return scored([{"a": {"error": value}} for value in values], split="test", **attrs)


@pytest.mark.parametrize(("take", "value"), [("last", 3.0), ("best", 1.0), (1, 3.0), (2, 2.5), (4, 2.5)])
def test_take(take: Any, value: float) -> None:
    run = logged(4, 1, 2, 3, directions=DIRECTIONS)
    assert final_scores(run, split="test", take=take).value.item() == value


def test_best_of_a_metric_that_is_better_when_higher() -> None:
    run = scored([{"b": {"auc": value}} for value in (0.5, np.nan, 0.9, 0.7)], split="test")
    assert final_scores(run, split="test", take="best", higher_is_better={"auc": True}).value.item() == 0.9
    with pytest.raises(BadOption, match=r"higher_is_better=\{\"auc\": True\}"):
        final_scores(run, split="test", take="best")


def test_runs_of_several_tasks_and_metrics() -> None:
    one = scored({"a": {"error": 1.0, "auc": 0.5}}, directions={"auc": True}, method="pub", seed=3)
    two = scored({"b": {"error": 2.0}}, higher="", benchmark="toy")
    found = final_scores({"one": one, "two": two})
    assert dict(found.value.sizes) == {"run": 2, "task": 2, "metric": 2}
    np.testing.assert_array_equal(found.value.sel(metric="error"), [[1, np.nan], [np.nan, 2]])
    assert found.direction.sel(task="a").values.tolist() == ["", "higher"]
    assert found.method.values.tolist() == ["pub", ""]
    assert found.benchmark.values.tolist() == ["", "toy"]
    np.testing.assert_array_equal(found.seed, [3, np.nan])


def test_directions_by_task_go_before_those_of_all() -> None:
    run = scored({"a": {"x": 1.0}, "b": {"x": 1.0}})
    found = final_scores(run, higher_is_better={"x": True})
    assert found.direction.values.ravel().tolist() == ["higher", "higher"]
    mixed: Any = {"a": {"x": False}, "x": True}
    found = final_scores(run, higher_is_better=mixed)
    assert found.direction.values.ravel().tolist() == ["lower", "higher"]


def test_contradictions_are_errors() -> None:
    run = scored({"a": {"error": 1.0}}, directions=DIRECTIONS)
    with pytest.raises(BadOption, match="is higher the better"):
        final_scores(run, higher_is_better={"error": True})
    other = scored({"a": {"error": 1.0}}, directions={"error": True})
    with pytest.raises(BadOption, match="the other way round"):
        final_scores({"one": run, "other": other})


def test_steps_that_were_gone_over_again_do_not_count() -> None:
    """Resumed at step 1 after step 2: the values of step 2 that came before are of weights that are gone."""
    steps = [(0, 4.0), (1, 3.0), (2, 0.1), (1, 2.5), (2, 2.0)]
    rows = [
        {"step": step, "epoch": step, "task": "a", "split": "test", "name": "error", "value": value}
        for step, value in steps
    ]
    run = make_run(np.ones((3, 1, 1)), metrics=rows)
    assert events(run)["value"].tolist() == [4.0, 3.0, 2.5, 2.0]  # both of step 1: which is meant is said by its keys
    options: dict[str, Any] = {"split": "test", "higher_is_better": {"error": False}}
    assert final_scores(run, take="best", **options).value.item() == 2.0
    assert final_scores(run, take=3, **options).value.item() == pytest.approx((4 + 2.5 + 2) / 3)


@pytest.mark.parametrize(("name", "split", "left"), [("auc", "test", ["auc"]), ("auc", "train", ["eval-loss", "auc"])])
def test_losses_without_gradients_give_way_to_what_the_script_says(name: str, split: str, left: list[str]) -> None:
    said = [("eval-loss", "val", 0.5), (name, split, 0.75)]
    metrics = [
        {"task": "a", "split": split, "name": name, "value": value, "step": 1, "epoch": 0}
        for name, split, value in said
    ]
    run = make_run(np.ones((2, 1, 2)), metrics=metrics)
    assert events(run)["metric"].tolist() == left


def test_values_of_no_task_are_counted() -> None:
    rows = [
        {"step": 0, "epoch": 0, "task": task, "split": "final", "name": "error", "value": 1.0} for task in ("", "a")
    ]
    found = final_scores(make_run(np.ones((1, 1, 1)), metrics=rows))
    assert found.attrs["events_without_task"] == 1
    assert found.task.values.tolist() == ["a"]


def test_what_is_missing_is_named() -> None:
    run = logged(1.0)
    with pytest.raises(NothingRecorded, match="split 'final'; there is test"):
        final_scores(run)
    with pytest.raises(NothingRecorded, match="there is none at all"):
        final_scores(make_run(np.ones((1, 1, 1))))
    with pytest.raises(BadOption, match="take='first'"):
        final_scores(run, split="test", take="first")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="logged 1 times, not 2"):
        final_scores(run, split="test", take=2)
