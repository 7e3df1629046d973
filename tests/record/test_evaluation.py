"""dominance.evaluate: heard by a recording in progress, and nothing otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dominance
from dominance.record.evaluation import Evaluation, evaluate, hear_no_more, listen


class Ear:
    def __init__(self) -> None:
        self.heard: list[Evaluation] = []

    def evaluation(self, registered: Evaluation) -> None:
        self.heard.append(registered)


def scores(model: Any) -> dict[str, dict[str, float]]:
    return {"a": {"auc": 0.5}}


def test_every_form_returns_the_function() -> None:
    ear = Ear()
    listen(ear)
    try:
        assert evaluate(scores) is scores
        assert evaluate()(scores) is scores
        assert evaluate(higher_is_better={"auc": True})(scores) is scores
    finally:
        hear_no_more(ear)
    evaluate(scores)  # nobody listens any more
    assert [(heard.fn, heard.higher_is_better) for heard in ear.heard] == [
        (scores, {}),
        (scores, {}),
        (scores, {"auc": True}),
    ]


@pytest.mark.parametrize("wrong", [{"auc": "higher"}, {"auc": 1}, {1: True}])
def test_directions_are_true_or_false(wrong: Any) -> None:
    with pytest.raises(TypeError, match="higher_is_better maps names of metrics"):
        evaluate(scores, higher_is_better=wrong)


def test_only_functions() -> None:
    with pytest.raises(TypeError, match="evaluate takes a function"):
        evaluate({"a": 1})  # type: ignore[call-overload]


def test_a_recorder_keeps_the_directions(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    trunk, a, b = nn.Linear(2, 2), nn.Linear(2, 1), nn.Linear(2, 1)
    model = nn.ModuleDict({"trunk": trunk, "a": a, "b": b})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with dominance.Recorder(tmp_path / "run", model, optimizer, every=1, quiet=True):
        dominance.evaluate(scores, higher_is_better={"auc": True, "rmse": False})
        z = trunk(torch.ones(3, 2))
        one, two = a(z).square().mean(), b(z).square().mean()
        (one + two).backward()
        optimizer.step()
    words = {"auc": "higher", "rmse": "lower"}
    assert dominance.open_run(tmp_path / "run").attrs["metrics"] == {"one": words, "two": words}
