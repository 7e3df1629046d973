"""Runs and timings are found by what was trained and timed."""

from __future__ import annotations

from pathlib import Path

import pytest
from papers.made import timed, trained

from dominance.errors import BadData, NothingRecorded
from dominance.papers.jobs import TIMING
from dominance.papers.material import Material


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[Path]:
    return [
        trained(folder / "b", method="pub", seed=2, settings={"width": "32"}),
        trained(folder / "a", method="pub", seed=1, settings={"width": "32", "depth": "2"}),
        trained(folder / "c", method="uw", seed=0, options={"lr": 0.1}),
        trained(folder / "d", "other", "uw", seed=0, scores={"x": {"error": 1.0}}),
        timed(folder / "e", equal_weight=1.0, pub=1.2),
    ]


def named(runs) -> list[str]:
    return [Path(run.attrs["path"]).name for run in runs]


def test_runs_come_by_what_was_trained_in_the_order_of_their_seeds(paths):
    found = Material(paths)
    assert named(found.select(benchmark="small", method="pub")) == ["a", "b"]
    assert named(found.select(method=["pub", "uw"], benchmark="small")) == ["c", "a", "b"]
    assert named(found.select(settings={"width": 32})) == ["a", "b"]
    assert named(found.select(settings={"width": 32, "depth": 2})) == ["a"]
    assert named(found.select(options={"lr": "0.1"})) == ["c"]
    assert not found.has(options={"every": 1})
    assert named(found.select(tasks=("B", "A"), method="uw")) == ["c"]
    assert found.has(method="pub")
    assert not found.has(method="pub", benchmark="other")


def test_what_is_not_there_is_said_with_the_training_that_would_make_it(paths):
    with pytest.raises(NothingRecorded, match="no run with benchmark small, method famo") as error:
        Material(paths).select(benchmark="small", method="famo")
    assert "dominance train small --method famo" in str(error.value)
    with pytest.raises(NothingRecorded, match="give one more run"):
        Material(paths).select(method=["famo"])


def test_a_folder_of_single_tasks_gives_the_run_of_each(tmp_path):
    for task in ("A", "B"):
        trained(tmp_path / "alone" / task, method="stl", scores={task: {"error": 1.0}})
    assert named(Material([tmp_path / "alone"]).select(method="stl")) == ["A", "B"]


def test_timings_are_no_runs(paths, tmp_path):
    found = Material(paths)
    assert len(found.runs) == 4
    assert found.timing("small", "hps")["methods"]["pub"]["ratio"][1] == 1.2
    with pytest.raises(NothingRecorded, match="no timing on small mmoe was given"):
        found.timing("small", "mmoe")
    broken = timed(tmp_path / "broken", equal_weight=1.0)
    (broken / TIMING).write_text("{")
    with pytest.raises(BadData, match="cannot be read"):
        _ = Material([broken]).timings
