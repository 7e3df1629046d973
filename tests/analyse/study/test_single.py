from __future__ import annotations

from pathlib import Path

import pytest
from runs import make_rows, write_run
from studies import scored

from dominance.analyse.study.about import About
from dominance.analyse.study.single import by_task, missing, single_task_runs
from dominance.errors import BadOption, NotARun

A, B = scored({"a": {"error": 1.0}}), scored({"b": {"error": 1.0}})


@pytest.mark.parametrize(
    ("single", "counts"),
    [
        (A, {"a": 1}),
        ({"a": A, "b": B}, {"a": 1, "b": 1}),
        ({"a": [A, A], "b": B}, {"a": 2, "b": 1}),
        ([A, B, A], {"a": 2, "b": 1}),
        ([{"a": A, "b": B}, {"a": A}], {"a": 2, "b": 1}),
    ],
)
def test_all_forms(single: object, counts: dict[str, int]) -> None:
    assert {task: len(runs) for task, runs in by_task(single).items()} == counts  # type: ignore[arg-type]


def test_what_is_no_single_task_run() -> None:
    with pytest.raises(BadOption, match="trained on a, b"):
        by_task(scored({"a": {"error": 1.0}, "b": {"error": 1.0}}))
    with pytest.raises(BadOption, match="given as the run of b, and its task is called a"):
        by_task({"b": A})
    with pytest.raises(BadOption, match="a str is no single-task run"):
        by_task(["runs/stl"])  # type: ignore[list-item]
    with pytest.raises(BadOption, match="no single-task run"):
        by_task([])


def test_the_folder_of_an_stl_training(tmp_path: Path) -> None:
    for task in ("right", "left"):
        write_run(tmp_path / "stl" / task, *make_rows([[[1.0]]], tasks=[task]))
    write_run(tmp_path / "stl" / "joint", *make_rows([[[1.0], [1.0]]], tasks=["left", "right"]))
    (tmp_path / "stl" / "checkpoint.pt").touch()
    found = single_task_runs(tmp_path / "stl")
    assert list(found) == ["left", "right"]
    assert found["left"].attrs["tasks"] == ["left"]
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotARun, match="no run of a single task"):
            single_task_runs(path)


def test_the_error_is_the_command_that_makes_it() -> None:
    said = str(missing("ctr", About("aliexpress", "pub", "mmoe", 2, ("ctr", "cvr")), ["cvr"]))
    assert "`dominance train aliexpress --method stl --tasks ctr --seed 2`" in said
    assert "your script" in str(missing("ctr", About("", "", "", None, ("ctr",)), []))
