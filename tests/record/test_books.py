"""What does not add up in a run is counted, and said once; nothing is said of one that does."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from dominance.record.books import Books
from dominance.record.rows import Row
from dominance.schema import TOTAL_STATISTICS


class Statistics:
    """Of a row, its packed totals: what the books read of it."""

    def __init__(self, *, skipped: int = 0, **values: float) -> None:
        known = {"gradient_sq": 1.0, "update_sq": 1.0, **values}
        layer = [known.get(name, 0.0) for name in TOTAL_STATISTICS]
        self.values = {"layer/total": np.array([layer]), "skipped": np.array(skipped)}


def row(**values: Any) -> Row:
    return cast(Row, Statistics(**values))


def test_nothing_is_said_of_a_run_that_adds_up() -> None:
    books = Books()
    for step in range(5):
        books.row(step, row(unexplained_gradient_sq=1e-4))
    assert books.lines() == []
    assert books.attributes() == {"unrecorded": [], "remarks": []}


def test_a_gradient_that_nobody_can_account_for() -> None:
    books = Books()
    for step, share in enumerate((0.0, 0.3, 0.4, 0.5)):
        books.row(step, row(unexplained_gradient_sq=share**2))
    (line,) = books.lines()
    assert line.startswith("in 3 of 4 steps, 40% of the gradient's norm belongs to no task that was found")


def test_steps_that_are_missing_are_counted_by_their_reason() -> None:
    books = Books()
    for step in (3, 4, 9):
        books.missed("one", step)
    books.missed("two", 5)
    assert books.lines() == ["3 steps not recorded, from step 3 on: one", "1 step not recorded, from step 5 on: two"]
    assert books.attributes()["unrecorded"] == [
        {"reason": "one", "steps": 3, "first": 3},
        {"reason": "two", "steps": 1, "first": 5},
    ]


@pytest.mark.parametrize("name", ["gradient_sq", "update_sq"])
def test_a_training_that_diverged(name: str) -> None:
    books = Books()
    for step in range(6):
        books.row(step, row(**{name: np.nan if step >= 4 else 1.0}))
    assert books.lines() == ["the training diverged at step 4: from there on nothing is finite"]


def test_a_training_that_recovers_did_not_diverge() -> None:
    books = Books()
    for step in range(6):
        books.row(step, row(update_sq=np.inf if step == 2 else 1.0))
    assert books.lines() == []


def test_a_skipped_step_is_not_finite_and_no_divergence() -> None:
    books = Books()
    books.row(0, row(gradient_sq=np.nan, skipped=1))
    assert books.lines() == []


def test_a_remark_is_made_once() -> None:
    books = Books()
    assert [books.remark("so"), books.remark("so"), books.remark("and so")] == [True, False, True]
    assert books.attributes()["remarks"] == ["so", "and so"]
