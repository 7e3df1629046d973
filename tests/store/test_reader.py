from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from store_rows import expected, make_layout, make_row, write_run

from dominance.errors import CorruptRun, DominanceError, NotARun, SchemaTooNew
from dominance.schema import TASK_STATISTICS, TOTAL_STATISTICS, UPDATE_PARTS
from dominance.store.reader import array, open_run
from dominance.store.verify import verify
from dominance.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("blocks_of_64")

STEPS = 70


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", make_layout(attribution="both"), STEPS)


def change(path: Path, name: str, **values: Any) -> None:
    file = path / "data.zarr" / name / "zarr.json"
    document = json.loads(file.read_bytes())
    (document["attributes"] if name == "." else document).update(values)
    file.write_text(json.dumps(document))


def test_the_tree_has_the_form_that_it_is_said_to_have(path: Path) -> None:
    layout = make_layout(attribution="both")
    run = open_run(path)

    def due(name: str) -> np.ndarray[Any, Any]:
        return expected(layout, name, STEPS)

    assert {name for name, _ in run.children.items()} == {"gradient", "update", "layer", "loss", "learning_rate"}
    assert dict(run.sizes) == {"step": STEPS, "task": 2, "task_other": 2, "coord": 40}
    for name in ("step", "epoch", "time"):
        np.testing.assert_array_equal(run.coords[name], due(name))
        assert run.coords[name].dims == ("step",)
    assert run["task"].values.tolist() == run["task_other"].values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(run["skipped"], due("skipped"))
    np.testing.assert_array_equal(run["closure"], due("closure"))

    names = [p.name for p in layout.parameters]
    codes = layout.coord_parameter
    assert run["parameter"].values.tolist() == [names[code] for code in codes]
    assert run["coord_layer"].values.tolist() == [layout.layers[code] for code in codes]
    assert run["shared"].values.tolist() == [code != 0 for code in codes]
    np.testing.assert_array_equal(run["index"], layout.coord_index)
    np.testing.assert_array_equal(run["coord_weight"], layout.coord_weight)

    for name in ("gradient/gradient", "update/update", "update/solo"):
        assert run[name].dims == ("step", "task", "coord")
        np.testing.assert_array_equal(run[name], due(name))
        assert set(run[name].coords) >= {"parameter", "coord_layer", "index", "shared", "coord_weight"}
    for name in ("gradient/total", "update/total", *(f"update/{part}" for part in UPDATE_PARTS)):
        assert run[name].dims == ("step", "coord")
        np.testing.assert_array_equal(run[name], due(name))

    layer = run["layer"]
    for number, name in enumerate(TASK_STATISTICS):
        assert layer[name].dims == ("step", "layer", "task")
        np.testing.assert_array_equal(layer[name], due("layer/task")[..., number])
    prefixed = ["total_gradient_sq", "total_update_sq", "total_gradient_dot_update", *TOTAL_STATISTICS[3:]]
    for number, name in enumerate(prefixed):
        assert layer[name].dims == ("step", "layer")
        np.testing.assert_array_equal(layer[name], due("layer/total")[..., number])
    assert layer["gram"].dims == ("step", "layer", "task", "task_other")
    np.testing.assert_array_equal(layer["gram"], due("layer/gram"))
    assert layer["layer"].values.tolist() == layout.layers
    assert layer["shared"].values.tolist() == [False, True, True]
    assert layer["size"].values.tolist() == [80, 80, 80]

    np.testing.assert_array_equal(run["loss/loss"], due("loss/loss"))
    np.testing.assert_array_equal(run["loss/weight"], due("loss/weight"))
    np.testing.assert_array_equal(run["loss/total"], due("loss/total"))
    assert run["learning_rate/learning_rate"].dims == ("step", "layer")
    assert run["learning_rate"]["layer"].values.tolist() == layout.layers
    np.testing.assert_array_equal(run["learning_rate/learning_rate"], due("learning_rate/value"))

    assert run.attrs["tasks"] == ["a", "b"]
    assert run.attrs["path"] == str(path.resolve())
    assert (run.attrs["status"], run.attrs["committed_steps"], run.attrs["seed"]) == ("complete", STEPS, 7)


@pytest.mark.parametrize(
    "key",
    [
        {"step": 3},
        {"step": -1, "task": 1},
        {"step": slice(5, 60, 7), "coord": slice(None, None, -1)},
        {"coord": [3, 1, 1, 39]},
        {"coord": [4, 5, 6], "task": [1], "step": [0, 69, 2]},
        {"step": slice(0, 0)},
        {"coord": np.arange(40) % 3 == 0},
        {"coord": xr.DataArray([1, 2], dims="p"), "step": xr.DataArray([5, 6], dims="p")},
    ],
)
def test_any_selection_is_that_of_the_array_in_memory(path: Path, key: dict[str, Any]) -> None:
    lazy = open_run(path)["update/update"]
    in_memory = lazy.copy(data=expected(make_layout(), "update/update", STEPS))
    xr.testing.assert_identical(lazy.isel(key).load(), in_memory.isel(key))


def test_opening_reads_no_large_array(path: Path) -> None:
    for name in ("gradient", "update", "layer", "loss"):
        for chunk in (path / "data.zarr" / name).rglob("c.*"):
            chunk.write_bytes(b"damaged")
    run = open_run(path)
    with pytest.raises(CorruptRun, match="update/update cannot be read"):
        run["update/update"].load()


def test_the_array_behind_a_variable(path: Path) -> None:
    run = open_run(path)
    stored = array(run, "update/update")
    assert isinstance(stored, zarr.Array)
    assert stored.chunks == (64, 1, 40)
    np.testing.assert_array_equal(stored[64:70, 1, 3:9], run["update/update"].values[64:70, 1, 3:9])
    behind_total = array(run, "gradient/total")
    assert behind_total is not None
    assert behind_total.shape == (STEPS, 40)
    assert array(run.isel(step=slice(3)), "update/update") is None
    assert array(run.isel(step=slice(None)), "update/update") is not None
    assert array(run.isel(task=[1, 0]), "update/update") is None
    assert array(run, "layer/gradient_sq") is None
    in_memory = xr.DataTree.from_dict({"/update": xr.Dataset({"update": run["update/update"].compute()})})
    assert array(in_memory, "update/update") is None
    with pytest.raises(KeyError):
        array(run, "update/nothing")


def test_a_link_to_a_run_is_opened_and_may_move_on(path: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", make_layout(), 2)
    link = tmp_path / "latest"
    link.symlink_to(path.name)
    run = open_run(str(link))
    assert run.attrs["path"] == str(path.resolve())
    link.unlink()
    link.symlink_to(other.name)
    np.testing.assert_array_equal(run["update/update"], expected(make_layout(), "update/update", STEPS))
    assert open_run(link).sizes["step"] == 2


def test_a_run_without_steps_opens(tmp_path: Path) -> None:
    run = open_run(write_run(tmp_path / "run", make_layout(), 0))
    assert run["update/update"].shape == (0, 2, 40)
    assert run["update/update"].load().sum() == 0
    assert run["step"].size == 0
    assert verify(tmp_path / "run") == []


def test_a_run_without_tasks_or_coordinates_opens(tmp_path: Path) -> None:
    layout = make_layout(tasks=0, coords=0)
    run = open_run(write_run(tmp_path / "run", layout, 3))
    assert run["update/update"].shape == (3, 0, 0)
    assert run["update/update"].load().size == 0
    assert verify(tmp_path / "run") == []


def test_only_committed_steps_are_seen(path: Path) -> None:
    change(path, ".", committed_steps=66)
    run = open_run(path)
    assert run["update/update"].shape == (66, 2, 40)
    np.testing.assert_array_equal(run["update/update"], expected(make_layout(), "update/update", 66))
    np.testing.assert_array_equal(run["update/update"][-1, 0], make_row(make_layout(), 65)["update/update"][0])


def one_line(caught: pytest.ExceptionInfo[DominanceError]) -> None:
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="no such run") as caught:
        open_run(tmp_path / "nothing")
    one_line(caught)
    with pytest.raises(NotARun, match=r"no dominance run \(it has no data.zarr\)") as caught:
        open_run(tmp_path)
    one_line(caught)
    zarr.create_group(tmp_path / "data.zarr")
    with pytest.raises(NotARun, match="its attributes lack schema_version") as caught:
        open_run(tmp_path)
    one_line(caught)


def test_a_newer_schema(path: Path) -> None:
    change(path, ".", schema_version=99)
    for opens in (open_run, verify):
        with pytest.raises(SchemaTooNew, match="written with schema 99") as caught:
            opens(path)
        one_line(caught)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (".", {"committed_steps": 71}, r"step has the shape \(70,\) where \(71,\) was committed"),
        ("update/update", {"shape": [70, 2, 39]}, r"update/update has the shape \(70, 2, 39\)"),
        (
            "layer/gram",
            {"data_type": "float32"},
            r"layer/gram cannot be read \(it is no float64 array of step, layer, task, task_other",
        ),
        (".", {"parameters": [{"name": "x"}]}, r"its metadata cannot be used \(parameters\[0\] lacks layer"),
    ],
)
def test_metadata_that_do_not_agree(path: Path, name: str, values: dict[str, Any], says: str) -> None:
    change(path, name, **values)
    with pytest.raises(CorruptRun, match=says) as caught:
        open_run(path)
    one_line(caught)
    assert verify(path) != []


def test_files_that_are_missing_or_are_no_json(path: Path) -> None:
    (path / "data.zarr" / "loss" / "loss" / "zarr.json").unlink()
    with pytest.raises(CorruptRun, match="array loss/loss cannot be read") as caught:
        open_run(path)
    one_line(caught)
    (path / "data.zarr" / "zarr.json").write_text("{")
    with pytest.raises(CorruptRun) as caught:
        open_run(path)
    one_line(caught)


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_rows import make_layout, make_row
from dominance.store.writer import RunWriter
layout, step = make_layout(), 0
with RunWriter(Path(sys.argv[1]), layout, exact=True, flush_seconds=0.05) as writer:
    while not Path(sys.argv[1], "enough").exists():
        writer.append(make_row(layout, step))
        writer.append_event({"step": step, "split": "train", "name": "m", "value": float(step)})
        if step % 13 == 0:
            writer.flush()
        time.sleep(0.001)
        step += 1
"""


def test_a_run_is_read_while_another_process_writes_it(tmp_path: Path) -> None:
    layout, path = make_layout(), tmp_path / "run"
    seen: list[int] = []
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(Path(__file__).parents[1])]) as process:
        try:
            while len(seen) < 40 or len(set(seen)) < 10:
                assert process.poll() is None
                try:
                    run = open_run(path)
                except NotARun:
                    continue  # it has not begun
                count = run.sizes["step"]
                assert run["step"].values.tolist() == list(range(count))
                values = run["update/update"].values
                if count:
                    np.testing.assert_array_equal(values, expected(layout, "update/update", count))
                assert not np.isnan(run["layer/gram"].values).any()
                if "metric" in run.children:
                    events = run["metric/value"].values
                    np.testing.assert_array_equal(events, np.arange(len(events)))
                seen.append(count)
        finally:
            path.mkdir(exist_ok=True)
            (path / "enough").touch()
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert open_run(path).sizes["step"] >= seen[-1]
    assert verify(path) == []


def test_a_tree_may_be_opened_after_the_writer_grew_its_tasks(tmp_path: Path) -> None:
    small, large = make_layout(tasks=2), make_layout(tasks=3)
    with RunWriter(tmp_path / "run", small, exact=True) as writer:
        writer.append(make_row(small, 0))
        writer.flush()
        before = open_run(tmp_path / "run")
        writer.grow_tasks(["c"])
        writer.append(make_row(large, 1))
        writer.flush()
        np.testing.assert_array_equal(before["update/update"], expected(small, "update/update", 1))
        assert open_run(tmp_path / "run")["update/update"].shape == (2, 3, 40)
