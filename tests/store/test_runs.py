from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_rows import expected, make_layout, make_row, write_run

from dominance.errors import BadOption
from dominance.store.reader import array, open_run, open_runs
from dominance.store.writer import RunWriter


def write_steps(path: Path, steps: list[int], **options: Any) -> Path:
    layout = make_layout(**options)
    with RunWriter(path, layout, exact=True) as writer:
        for step in steps:
            writer.append(make_row(layout, step))
    return path


def test_steps_are_joined_and_what_a_run_lacks_is_missing(tmp_path: Path) -> None:
    first = write_steps(tmp_path / "first", [0, 1, 2, 5])
    second = write_steps(tmp_path / "second", [1, 5, 7])
    runs = open_runs([first, second])
    assert runs["run"].values.tolist() == ["first", "second"]
    assert runs["step"].values.tolist() == [0, 1, 2, 5, 7]
    layout = make_layout()
    for name, path in (("update/update", "update/update"), ("layer/gram", "layer/gram"), ("loss/total", "loss/total")):
        values, due = runs[name], expected(layout, path, 8)
        assert values.dims[:2] == ("run", "step")
        np.testing.assert_array_equal(values.sel(run="first", step=[0, 1, 2, 5]), due[[0, 1, 2, 5]])
        np.testing.assert_array_equal(values.sel(run="second", step=[1, 5, 7]), due[[1, 5, 7]])
        assert np.isnan(values.sel(run="first", step=7)).all()
        assert np.isnan(values.sel(run="second", step=[0, 2])).all()
    assert runs["epoch"].dims == ("run", "step")
    assert runs["skipped"].sel(run="second").values.tolist() == [-1, 0, -1, 0, 0]
    one = runs["update/update"].isel(run=1, step=[1, 3, 4], coord=[7, 3, 8], task=1)
    np.testing.assert_array_equal(one, expected(layout, "update/update", 8)[[1, 5, 7]][:, 1][:, [7, 3, 8]])
    assert runs["parameter"].dims == ("coord",)
    assert runs.attrs["runs"]["second"]["path"] == str(second.resolve())
    assert runs.attrs["attribution"] == "additive"
    assert array(runs, "update/update") is None


def test_one_run_of_several_is_the_run_opened_alone(tmp_path: Path) -> None:
    first = write_steps(tmp_path / "a", [3, 4])
    runs = open_runs({"x": first, "y": write_steps(tmp_path / "b", [3, 4])})
    alone = open_run(first)
    for name in ("update/total", "layer/total_update_sq", "loss/weight", "learning_rate/learning_rate"):
        np.testing.assert_array_equal(runs[name].sel(run="x"), alone[name])


def test_of_a_step_recorded_twice_the_later_row_counts(tmp_path: Path) -> None:
    layout = make_layout()
    with RunWriter(tmp_path / "again", layout, exact=True) as writer:
        for step, content in ((0, 0), (1, 1), (2, 2), (1, 11), (2, 12)):
            writer.append(make_row(layout, content) | {"step": step})
    runs = open_runs([tmp_path / "again"])
    np.testing.assert_array_equal(runs["update/total"][0], expected(layout, "update/total", 13)[[0, 11, 12]])


def test_other_coordinates_leave_the_per_coordinate_groups_out(tmp_path: Path) -> None:
    first = write_steps(tmp_path / "first", [0, 1])
    runs = open_runs([first, write_steps(tmp_path / "second", [0, 1], coords=20)])
    assert "update" not in runs.children
    assert "gradient" not in runs.children
    assert "parameter" not in runs.coords
    assert not np.isnan(runs["layer/gram"]).any()


def test_names_may_come_in_another_order(tmp_path: Path) -> None:
    first = write_steps(tmp_path / "first", [0])
    layout = make_layout()
    layout.tasks.reverse()
    layout.layers.reverse()
    with RunWriter(tmp_path / "second", layout, exact=True) as writer:
        writer.append(make_row(layout, 0))
    runs = open_runs([first, tmp_path / "second"])
    assert runs["task"].values.tolist() == ["a", "b"]
    gram = runs["layer/gram"].isel(step=0)
    np.testing.assert_array_equal(gram.sel(run="second"), gram.sel(run="first").values[::-1, ::-1, ::-1])
    np.testing.assert_array_equal(
        gram.sel(run="second", layer="trunk.2", task="a", task_other="b"),
        open_run(tmp_path / "second")["layer/gram"].sel(layer="trunk.2", task="a", task_other="b")[0],
    )


def test_events_are_padded(tmp_path: Path) -> None:
    for name, count in (("one", 1), ("three", 3)):
        with RunWriter(tmp_path / name, make_layout()) as writer:
            for i in range(count):
                writer.append_event({"step": i, "task": name, "split": "val", "name": "m", "value": float(i)})
    metric = open_runs([tmp_path / "one", tmp_path / "three"])["metric"]
    assert metric["event_task"].dims == ("run", "event")
    assert metric["event_task"].values.tolist() == [["one", "", ""], ["three", "three", "three"]]
    np.testing.assert_array_equal(metric["value"], [[0, np.nan, np.nan], [0, 1, 2]])
    assert metric["event_epoch"].values.tolist() == [[-1, -1, -1]] * 2


def test_runs_that_do_not_go_together(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", make_layout(), 1)
    second = write_run(tmp_path / "second", make_layout(tasks=3), 1)
    third = write_run(tmp_path / "third", make_layout(layers=2), 1)
    with pytest.raises(BadOption, match="run second has the tasks a, b, c; run first has a, b"):
        open_runs([first, second])
    with pytest.raises(BadOption, match=r"run z has the layers trunk.0, trunk.1; run y has"):
        open_runs({"y": first, "z": third})
    with pytest.raises(BadOption, match="two runs are called first"):
        open_runs([first, tmp_path / "." / "first"])
    with pytest.raises(BadOption, match="got no run"):
        open_runs([])
    with pytest.raises(BadOption, match="use open_run for one run"):
        open_runs(str(first))
