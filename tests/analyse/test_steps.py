from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from runs import make_run

from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import superseded


@given(st.lists(st.integers(0, 12), max_size=25))
def test_superseded_by_definition(numbers: list[int]) -> None:
    found = superseded(np.array(numbers, dtype=np.int64))
    for i, number in enumerate(numbers):
        assert found[i] == any(later <= number for later in numbers[i + 1 :])
    assert (np.diff(np.array(numbers)[~found]) > 0).all()


def test_a_step_counts_once_under_the_first_reason() -> None:
    updates = np.ones((6, 2, 2))
    updates[[0, 1]] = np.nan
    unattributed = np.full((6, 2), 0.0)
    unattributed[[1, 2]] = 99
    run = make_run(updates, skipped=[1, 0, 0, 0, 0, 2], unattributed=unattributed, steps=[0, 1, 2, 5, 4, 6])
    found = PreparedRun(run).usable()
    reasons = ("superseded", "skipped", "not_understood", "non_finite", "unattributed")
    assert found.left_out == dict.fromkeys(reasons, 1)
    assert found.rows().tolist() == [4]


def test_nobody_known_to_be_absent() -> None:
    """Where no weight was recorded at all, NaN updates are missing ones, not those of absent tasks."""
    updates = np.ones((2, 2, 2))
    updates[1] = np.nan
    found = PreparedRun(make_run(updates, weight=np.full((2, 2), np.nan))).usable()
    assert not found.absent.any()
    assert found.used.tolist() == [True, False]


def test_long_runs_are_read_in_blocks() -> None:
    updates = np.ones((2500, 2, 2))
    updates[[1023, 1024, 2499]] = np.nan
    assert np.flatnonzero(~PreparedRun(make_run(updates)).usable().used).tolist() == [1023, 1024, 2499]


def test_a_task_not_seen_yet_is_absent_where_no_task_has_a_weight() -> None:
    """A method that bends gradients has no weights to tell; a task that comes later was not there."""
    updates, loss = np.ones((3, 2, 2)), np.ones((3, 2))
    updates[0, 1] = loss[0, 1] = np.nan
    run = make_run(updates, weight=np.full((3, 2), np.nan), loss=loss)
    assert PreparedRun(run).usable().left_out["non_finite"] == 1
    run.attrs["task_since"] = [0, 1]
    found = PreparedRun(run).usable()
    assert found.used.all()
    assert found.absent.tolist() == [[False, True], [False, False], [False, False]]
