from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from store_rows import attributes_of, expected, in_child, make_layout, make_row, write_run

from dominance.errors import RecordingFailed
from dominance.schema import METRIC_ARRAYS, Layout
from dominance.store import writer as writer_module
from dominance.store.disk import Disk
from dominance.store.reader import open_run
from dominance.store.verify import verify
from dominance.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("blocks_of_64")


@pytest.mark.parametrize("steps", [0, 1, 63, 64, 65, 150])
@pytest.mark.parametrize("attribution", ["additive", "both"])
def test_every_array_comes_back(tmp_path: Path, steps: int, attribution: str) -> None:
    layout = make_layout(attribution=attribution)
    write_run(tmp_path / "run", layout, steps)
    group = zarr.open_group(tmp_path / "run" / "data.zarr", mode="r", use_consolidated=False)
    for spec in layout.arrays(exact=True):
        stored = group[spec.path]
        assert isinstance(stored, zarr.Array)
        assert stored.shape == (steps, *spec.shape)
        assert stored.dtype == spec.dtype
        if steps:
            np.testing.assert_array_equal(stored[...], expected(layout, spec.path, steps))
    for name in ("parameter", "index", "weight"):
        np.testing.assert_array_equal(group[f"coord/{name}"][...], getattr(layout, f"coord_{name}"))
    assert group.attrs["committed_steps"] == steps
    assert group.attrs["status"] == "complete"
    assert group.attrs["seed"] == 7


def test_what_a_row_leaves_out_is_filled(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_layout()) as writer:
        for step in range(70):
            writer.append({"step": step})
    group = zarr.open_group(tmp_path / "run" / "data.zarr", mode="r")
    assert (group["epoch"][...] == -1).all()
    assert (group["skipped"][...] == -1).all()
    assert np.isnan(group["update/update"][...]).all()
    assert np.isnan(group["layer/gram"][...]).all()


def test_the_callers_array_may_be_reused(tmp_path: Path) -> None:
    layout = make_layout()
    row = make_row(layout, 0)
    with RunWriter(tmp_path / "run", layout, exact=True) as writer:
        for step in range(5):
            row["update/total"][:] = step
            row["step"] = step
            writer.append(row)
    stored = zarr.open_group(tmp_path / "run" / "data.zarr", mode="r")["update/total"][...]
    np.testing.assert_array_equal(stored[:, 0], np.arange(5))


def test_coordinates_are_rounded_unless_exact_and_nothing_else_is(tmp_path: Path) -> None:
    layout = make_layout()
    third = {path: np.full_like(value, 1 / 3) for path, value in make_row(layout, 0).items() if np.ndim(value)}
    with RunWriter(tmp_path / "run", layout) as writer:
        writer.append({"step": 0, **third})
    group = zarr.open_group(tmp_path / "run" / "data.zarr", mode="r")
    rounded = np.float32(1365 / 4096)  # 1/3 = 1.0101010101|0101... / 4, cut after ten digits
    for spec in layout.arrays():
        if spec.path in third:
            due = rounded if "coord" in spec.dims else np.dtype(spec.dtype).type(1 / 3)
            assert (group[spec.path][...] == due).all(), spec.path


def test_closed_runs_have_consolidated_metadata_and_growing_ones_do_not(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", make_layout())
    writer.append(make_row(make_layout(), 0))
    writer.flush()
    root = tmp_path / "run" / "data.zarr" / "zarr.json"
    assert "consolidated_metadata" not in json.loads(root.read_bytes())
    assert attributes_of(tmp_path / "run")["status"] == "recording"
    writer.close(complete=False)
    assert attributes_of(tmp_path / "run")["status"] == "interrupted"
    group = zarr.open_consolidated(tmp_path / "run" / "data.zarr")
    assert sorted(name for name, _ in group.arrays()) == ["closure", "epoch", "skipped", "step", "time"]
    assert group["metric/value"].shape == (0,)
    assert group["update/update"].shape == (1, 2, 40)


def test_a_wrong_row_is_refused_whole(tmp_path: Path) -> None:
    layout = make_layout()
    with RunWriter(tmp_path / "run", layout, exact=True) as writer:
        writer.append(make_row(layout, 0))
        with pytest.raises(ValueError, match=r"loss/loss: a row of shape \(3,\) where \(2,\) is due"):
            writer.append(make_row(layout, 9) | {"loss/loss": np.zeros(3)})
        with pytest.raises(ValueError, match="no array loss/losses"):
            writer.append({"loss/losses": 1.0})
        writer.append(make_row(layout, 1))
    np.testing.assert_array_equal(open_run(tmp_path / "run")["step"], [0, 1])


def test_events_come_back(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_layout()) as writer:
        for i in range(5000):
            task = None if i % 3 == 0 else f"t{i % 3}"
            assert writer.append_event({"step": i, "task": task, "split": "val", "name": f"m{i % 5}", "value": i / 2})
    metric = open_run(tmp_path / "run")["metric"]
    assert metric.dataset.sizes["event"] == 5000
    np.testing.assert_array_equal(metric["value"], np.arange(5000) / 2)
    np.testing.assert_array_equal(metric["event_step"].values, np.arange(5000))
    assert metric["event_task"].values.tolist()[:4] == ["", "t1", "t2", ""]
    assert metric["metric"].values.tolist()[3:7] == ["m3", "m4", "m0", "m1"]
    assert set(metric["split"].values) == {"val"}
    assert (metric["event_epoch"] == -1).all()
    assert verify(tmp_path / "run") == []
    assert len(METRIC_ARRAYS) == len(metric.data_vars)


def test_attributes_can_be_set_but_not_those_that_the_writer_keeps(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_layout()) as writer:
        names = ["x"]
        writer.set_attrs(names=names)
        writer.flush()
        names.append("y")
        writer.set_attrs(names=names, argv=["a b"])
        for own in ("tasks", "committed_steps", "status"):
            with pytest.raises(ValueError, match=f"keeps {own}"):
                writer.set_attrs(**{own: 1})
        with pytest.raises(TypeError):
            writer.set_attrs(bad=object())
    found = attributes_of(tmp_path / "run")
    assert (found["names"], found["argv"]) == (["x", "y"], ["a b"])


def test_rows_reach_the_disk_by_themselves(tmp_path: Path) -> None:
    layout = make_layout()
    writer = RunWriter(tmp_path / "run", layout, flush_seconds=0.05)
    writer.append(make_row(layout, 0))
    writer.append_event({"step": 0, "name": "m", "split": "val", "value": 1.0})
    deadline = time.monotonic() + 20
    while attributes_of(tmp_path / "run")["committed_steps"] < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    found = attributes_of(tmp_path / "run")
    assert (found["committed_steps"], found["committed_events"]) == (1, 1)
    writer.close()


def test_many_rows_are_on_disk_after_a_second_though_their_block_is_not_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dominance.store.grid._LONGEST_BLOCK", 256)
    layout = make_layout()
    with RunWriter(tmp_path / "run", layout, flush_seconds=1000) as writer:
        for step in range(70):
            writer.append(make_row(layout, step))
        deadline = time.monotonic() + 20
        while attributes_of(tmp_path / "run")["committed_steps"] < 70 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert attributes_of(tmp_path / "run")["committed_steps"] == 70
        writer.append(make_row(layout, 70))
        time.sleep(2.5)
        assert attributes_of(tmp_path / "run")["committed_steps"] == 70  # a few may wait
    assert attributes_of(tmp_path / "run")["committed_steps"] == 71


def test_a_full_queue_makes_the_caller_wait_and_counts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    class SlowDisk(Disk):
        def put(self, key: str, data: bytes) -> None:
            if "/c." in key and not key.startswith("coord"):
                gate.wait(30)
            super().put(key, data)

    monkeypatch.setattr(writer_module, "Disk", SlowDisk)
    layout = make_layout(coords=3)
    writer = RunWriter(tmp_path / "run", layout, exact=True)
    for step in range(3 * 64):
        writer.append(make_row(layout, step))
    assert writer.waited_seconds == 0
    caller = threading.get_ident()

    def open_once_the_caller_waits() -> None:
        while "_take_block" not in {frame.name for frame in traceback.extract_stack(sys._current_frames()[caller])}:
            time.sleep(0.001)
        time.sleep(0.02)
        gate.set()

    helper = threading.Thread(target=open_once_the_caller_waits)
    helper.start()
    writer.append(make_row(layout, 3 * 64))
    helper.join()
    assert writer.waited_seconds > 0
    writer.close()
    np.testing.assert_array_equal(open_run(tmp_path / "run")["step"], np.arange(193))
    assert verify(tmp_path / "run") == []


class FullDisk(Disk):
    """Full after so many chunks; ``unlinked`` room comes back never."""

    free = 0

    def put(self, key: str, data: bytes) -> None:
        if "/c." in key and not key.startswith("coord"):
            if FullDisk.free == 0:
                raise OSError(28, "No space left on device", key)
            FullDisk.free -= 1
        super().put(key, data)


@pytest.mark.parametrize("room", [0, 30, 43, 50])
@pytest.mark.parametrize("call", ["append", "flush", "close"])
def test_a_full_disk_reaches_the_caller_as_itself_and_the_run_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, call: str
) -> None:
    monkeypatch.setattr(writer_module, "Disk", FullDisk)
    FullDisk.free = room
    layout = make_layout()
    writer = RunWriter(tmp_path / "run", layout, exact=True)
    told = []
    for step in range(400):
        try:
            writer.append(make_row(layout, step))
            if call == "flush" and step % 40 == 39:
                writer.flush()
        except OSError as error:
            told.append(error)
            break
    if told:
        with pytest.raises(OSError, match="No space left"):
            writer.append(make_row(layout, 0))
        writer.close()
    else:
        with pytest.raises(OSError, match="No space left"):
            writer.close()
    writer.close()
    run = open_run(tmp_path / "run")
    count = run.sizes["step"]
    assert count % 64 == 0 or (call == "flush" and count % 40 == 0)
    assert run.attrs["status"] == "interrupted"
    np.testing.assert_array_equal(run["update/update"].values, expected_or_empty(layout, "update/update", count))
    assert verify(tmp_path / "run") == []


def expected_or_empty(layout: Layout, path: str, rows: int) -> Any:
    return expected(layout, path, rows) if rows else np.empty((0, 2, 40), np.float32)


def test_a_closed_writer_takes_no_more(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", make_layout())
    writer.close()
    writer.close()
    with pytest.raises(RecordingFailed, match="is closed; open it again with resume=True"):
        writer.append({"step": 0})


def test_no_thread_is_left(tmp_path: Path) -> None:
    write_run(tmp_path / "run", make_layout(), 3)
    assert "dominance-writer" not in {thread.name for thread in threading.enumerate()}


def test_in_a_forked_child_the_writer_does_nothing(tmp_path: Path) -> None:
    layout = make_layout()
    writer = RunWriter(tmp_path / "run", layout, exact=True)
    writer.append(make_row(layout, 0))

    def child() -> None:
        for step in range(1, 500):
            assert not writer.append(make_row(layout, step))
        assert not writer.append_event({"step": 0, "name": "m", "value": 1.0})
        writer.set_attrs(child=True)
        writer.grow_tasks(["c"])
        writer.flush()
        writer.close()

    in_child(child)
    writer.append(make_row(layout, 1))
    writer.close()
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal(run["step"], [0, 1])
    assert "child" not in run.attrs
    assert run.attrs["tasks"] == ["a", "b"]


@pytest.mark.parametrize("grown_at", [0, 5, 64, 100])
def test_tasks_found_later(tmp_path: Path, grown_at: int) -> None:
    small, large = make_layout(tasks=2), make_layout(tasks=5)
    with RunWriter(tmp_path / "run", small, exact=True) as writer:
        for step in range(grown_at):
            writer.append(make_row(small, step))
        writer.grow_tasks(["c", "d"])
        writer.grow_tasks([])
        writer.grow_tasks(["e"])
        assert writer.tasks == list("abcde")
        for step in range(grown_at, grown_at + 70):
            writer.append(make_row(large, step))
        with pytest.raises(ValueError, match="named twice"):
            writer.grow_tasks(["a"])
    run = open_run(tmp_path / "run")
    assert run["task"].values.tolist() == list("abcde")
    late = {"step": slice(grown_at, None)}
    for path, node in (("update/update", "update/update"), ("layer/gram", "layer/gram"), ("loss/loss", "loss/loss")):
        values = run[node]
        np.testing.assert_array_equal(values.isel(late), expected(large, path, grown_at + 70)[grown_at:])
        if grown_at:
            early = values.isel(step=slice(grown_at))
            np.testing.assert_array_equal(
                early.isel(task=[0, 1]).values[..., :2], expected(small, path, grown_at)[..., :2]
            )
            assert np.isnan(early.isel(task=[2, 3, 4])).all()
    assert verify(tmp_path / "run") == []
    with RunWriter(tmp_path / "run", large, exact=True, resume=True) as writer:
        writer.append(make_row(large, grown_at + 70))
    resumed = open_run(tmp_path / "run")["layer/gram"].isel(late)
    np.testing.assert_array_equal(resumed, expected(large, "layer/gram", grown_at + 71)[grown_at:])


def test_a_room_without_torch_and_a_writer_without_zarr() -> None:
    code = (
        "import sys, dominance.store.writer; assert 'zarr' not in sys.modules and 'xarray' not in sys.modules;"
        "import dominance.store.reader, dominance.store.verify; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
