"""The last lines of a recording: where the runs lie, and what to type next."""

from __future__ import annotations

import shlex

import pytest

from dominance.record.script.ending import next_command, runs_recorded


@pytest.mark.parametrize("count", [1, 4])
def test_few_runs_are_named_one_by_one(count: int) -> None:
    runs = {f"out dir/m-{i}": i + 1 for i in range(count)}
    words = ["1 step", "2 steps", "3 steps", "4 steps"][:count]
    assert list(runs_recorded(runs)) == [f"{words[i]} recorded in out dir/m-{i}" for i in range(count)]
    assert shlex.split(next_command(runs)) == ["dominance", "report", *runs]


def test_many_runs_are_a_study() -> None:
    runs = {f"out dir/m-{i}": i for i in range(30)}
    assert list(runs_recorded(runs))[4:] == ["26 more models are recorded beside it, the last in out dir/m-29"]
    assert shlex.split(next_command(runs)) == ["dominance", "study", "out dir"]
    assert next_command({f"m-{i}": i for i in range(5)}) == "dominance study ."


def test_a_study_is_of_a_folder() -> None:
    runs = {f"s3://bucket/m-{i}": i for i in range(5)}
    assert next_command(runs) == f"dominance report {' '.join(runs)}"
