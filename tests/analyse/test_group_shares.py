"""What groups of examples have of the batches, beside what they make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance.analyse.group_shares import group_shares
from dominance.analyse.verdict.verdict import verdict
from dominance.analyse.verdict.words import of_examples
from dominance.schema import GROUPS

COUNTS = {"rare": 10, "common": 90}


def counted(steps: int, counts: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"step": step, "epoch": 0, "task": task, "split": GROUPS, "name": "tokens", "value": number}
        for step in range(steps)
        for task, number in counts.items()
    ]


def test_shares_by_hand() -> None:
    updates = np.zeros((2, 2, 4))
    updates[:, 0], updates[:, 1] = 3, 1
    gradients = np.zeros((2, 2, 4))
    gradients[0], gradients[1, 1] = 1, 5  # shares 1/2 and 1/2, then 0 and 1
    metrics = [*counted(2, COUNTS), {"step": 0, "epoch": 0, "task": "rare", "split": "val", "name": "f1", "value": 99}]
    shares = group_shares(make_run(updates, gradients, tasks=["rare", "common"], metrics=metrics))
    assert shares is not None
    assert shares.attrs["unit"] == "tokens"
    assert shares.loc["rare"].to_numpy().tolist() == [0.1, 0.25, 0.9]
    assert shares.loc["common"].to_numpy().tolist() == [0.9, 0.75, pytest.approx(0.1)]


def test_a_loss_beside_the_groups_has_no_examples() -> None:
    shares = group_shares(make_run(np.ones((1, 3, 4)), tasks=["rare", "common", "aux"], metrics=counted(1, COUNTS)))
    assert shares is not None
    assert np.isnan(shares.examples["aux"])
    assert shares.examples["rare"] == 0.1


def test_tasks_that_are_no_groups_have_none() -> None:
    assert group_shares(make_run(np.ones((1, 2, 4)))) is None


def test_the_verdict_says_how_many_examples_an_owner_has() -> None:
    run = planted_run(tasks=["common", "rare"], share=0.97, metrics=counted(60, COUNTS))
    (owns,) = [each for each in verdict(run).findings if each.kind == "dominance"]
    assert "common has 90 % of the tokens" in owns.why


@pytest.mark.parametrize(
    ("task", "scale", "quiet", "says"),
    [
        ("rare", 9.0, True, "it is rare, which alone would make the others' gradients 9 times as long."),
        ("rare", 90.0, True, "one for one, the others' tokens pull 10 times as hard as its own."),
        ("rare", 1.8, True, "it is rare, though one for one its tokens pull 5 times as hard as the others'."),
        ("common", 9.0, False, "9 times as many as another: that alone makes its gradient so long."),
        ("common", 45.0, False, "one for one, its tokens pull 5 times as hard as the others'."),
        ("rare", 2.0, False, "one for one, its tokens pull 18 times as hard as the others'."),
        ("rare", None, True, "rare has 10 % of the tokens."),
    ],
)
def test_rare_and_hard_are_told_apart(task: str, scale: float | None, quiet: bool, says: str) -> None:
    shares = group_shares(make_run(np.ones((1, 2, 4)), tasks=["rare", "common"], metrics=counted(1, COUNTS)))
    assert shares is not None
    assert of_examples(shares, task, scale, quiet=quiet).endswith(says)
