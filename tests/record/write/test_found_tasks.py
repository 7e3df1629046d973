"""What the user is told of the tasks that were found."""

from __future__ import annotations

from typing import Any

import pytest

from dominance.record.write.found_tasks import found_tasks


def told(*tasks: str, weights: dict[str, float | None] | None = None, **named: Any) -> str:
    given: dict[str, Any] = {"residual": [], "separate": [], "columns": None, "wanted": None, "attrs": {}} | named
    (line,) = found_tasks(tasks, weights or dict.fromkeys(tasks, 1.0), **given)
    return line


def test_two_tasks_and_what_is_beside_them() -> None:
    line = told("a", "b", weights={"a": 0.5, "b": None}, residual=["penalty"], separate=["c", "d"])
    assert line.startswith("2 tasks: ")
    assert "0.5" in line
    assert line.endswith("; residual: penalty; sharing no parameter: c, d")


@pytest.mark.parametrize(("tasks", "count"), [((), "0 tasks;"), (("a",), "1 task: ")])
def test_too_few(tasks: tuple[str, ...], count: str) -> None:
    line = told(*tasks)
    assert line.startswith(f"found {count}")
    assert "dominance needs two or more; name them before backward(): dominance.observe(" in line


def test_one_that_is_asked_for_is_enough_and_one_that_is_missing_is_told() -> None:
    assert told("a", wanted=["a"]).startswith("1 task: a")
    assert told("a", "b", wanted=["c", "a"]).startswith("--tasks asks for c, a, found 2 tasks: ")


def test_columns_of_an_output() -> None:
    command = {"recorded_by": "dominance record", "argv": ["train.py", "--lr", "a b"]}
    assert told("a", columns=(3, "heads.out"), attrs=command).endswith(
        ", or take the 3 columns of its output: dominance record --columns heads.out train.py --lr 'a b'"
    )
    by_hand = ", or the 3 columns of its output: dominance.observe(columns=(OUTPUT, [3 NAMES]))"
    assert told("a", columns=(3, "heads.out"), attrs={"recorded_by": "Recorder"}).endswith(by_hand)
    assert told("a", columns=(3, None), attrs=command).endswith(by_hand)
