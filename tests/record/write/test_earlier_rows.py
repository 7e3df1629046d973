"""What a run that is resumed holds already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs import make_rows, write_run

from dominance.record.write.earlier_rows import EarlierRows, earlier_rows

ROWS = EarlierRows(np.array([3, 10, 17]), np.array([0, 3, 3, 16]))
NONE = EarlierRows(np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_the_step_that_comes_next_and_the_last_that_is_kept() -> None:
    assert (ROWS.next_step, NONE.next_step) == (18, 0)
    assert [ROWS.last(keep) for keep in (None, (3, 4), (1, 0), (0, 0))] == [17, 17, 3, None]
    assert NONE.last(None) is None


@pytest.mark.parametrize("step", range(20))
def test_rows_and_events_before_a_step(step: int) -> None:
    counted = [sum(number < step for number in numbers.tolist()) for numbers in (ROWS.steps, ROWS.events)]
    assert list(ROWS.before(step)) == counted


def test_those_of_a_run_directory(tmp_path: Path) -> None:
    assert earlier_rows(tmp_path / "run") is None
    write_run(tmp_path / "run", *make_rows(np.ones((4, 2, 3))))
    found = earlier_rows(tmp_path / "run")
    assert found is not None
    assert found.steps.tolist() == [0, 1, 2, 3]
    assert found.events.tolist() == []
