"""Results of probes in a run: whole or not at all, read when used, checked by verify."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from runs import planted_rows, write_run

from dominance.errors import CorruptRun, NotARun, RecordingFailed
from dominance.store import probes
from dominance.store.probes import read_probes, write_probe
from dominance.store.reader import open_run, open_runs
from dominance.store.verify import verify


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", *planted_rows(steps=3))


def result(value: float = 1.0) -> xr.Dataset:
    return xr.Dataset(
        {
            "change": (("task", "setting"), np.full((2, 3), value)),
            "counted": ("setting", np.array([1, 2, 3])),
            "nothing": ("absent", np.zeros(0)),
        },
        coords={
            "task": ["price", "rating"],
            "setting": np.array(["ä", "b", "c"], dtype=object),
            "fraction": ("setting", [0.1, np.nan, 0.3]),
            "single": 7,
        },
        attrs={"seed": 0, "words": ["one", "two"]},
    )


def test_what_is_written_is_read(run: Path) -> None:
    assert read_probes(run) == {}
    assert "probe" not in open_run(run).children
    write_probe(run, "noise", result())
    tree = open_run(run)
    found = tree["probe/noise"].to_dataset().drop_vars(["step", "task_other"])  # inherited from the root
    expected = result()
    xr.testing.assert_equal(found, expected)
    assert found.attrs == expected.attrs
    assert found["counted"].dtype == np.int64
    assert "probe" not in open_runs([run]).children
    assert verify(run) == []


def test_a_later_result_takes_the_place_of_an_earlier_one(run: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        write_probe(run, "noise", result(value))
        write_probe(run, "other", result(-value))
    found = read_probes(run)
    assert (float(found["noise"]["change"][0, 0]), float(found["other"]["change"][0, 0])) == (3, -3)
    folders = [path for path in (run / "data.zarr" / "probe").iterdir() if path.is_dir()]
    assert len(folders) == 2


@pytest.mark.parametrize("calls", range(12))
def test_a_crash_at_any_file_leaves_the_old_result(calls: int, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails at the n-th write, replacement or deletion: one result or the other is there, and whole."""
    write_probe(run, "noise", result(1.0))
    left = calls

    def failing(name: str, owner: object) -> None:
        real = getattr(owner, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("the disk is gone")
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    failing("write_bytes", Path)
    failing("replace", os)
    failing("rmtree", probes.shutil)
    try:
        write_probe(run, "noise", result(2.0))
        expected = {2.0}
    except OSError:
        expected = {1.0, 2.0}
    monkeypatch.undo()
    assert float(read_probes(run)["noise"]["change"].mean()) in expected
    assert verify(run) == []
    write_probe(run, "noise", result(3.0))  # and what was left over is cleared away
    assert float(read_probes(run)["noise"]["change"].mean()) == 3
    assert len(list((run / "data.zarr" / "probe").iterdir())) == 2


def test_damage_is_found(run: Path) -> None:
    write_probe(run, "noise", result())
    chunk = next((run / "data.zarr" / "probe").glob("noise.*/change/c.0.0"))
    data = bytearray(chunk.read_bytes())
    data[-6] ^= 1
    chunk.write_bytes(data)
    (problem,) = verify(run)
    assert "change" in problem
    assert "checksum" in problem
    with pytest.raises(CorruptRun, match="change cannot be read"):
        open_run(run)["probe/noise/change"].load()
    chunk.unlink()
    assert "missing" in verify(run)[0]
    (run / "data.zarr" / "probe" / "zarr.json").write_text("{")
    with pytest.raises(CorruptRun, match=r"zarr\.json cannot be read"):
        open_run(run)


def test_the_budget_holds(tmp_path: Path) -> None:
    from dominance.store.writer import RunWriter

    layout, rows = planted_rows(steps=2)
    with RunWriter(tmp_path / "run", layout, budget=1_000_000) as writer:
        for i in range(2):
            writer.append({key: values[i] for key, values in rows.items()})
    large = xr.Dataset({"change": ("x", np.random.default_rng(0).random(150_000))})
    with pytest.raises(RecordingFailed, match="does not fit into the budget"):
        write_probe(tmp_path / "run", "noise", large)
    assert read_probes(tmp_path / "run") == {}
    write_probe(tmp_path / "run", "noise", result())


def test_tasks_that_came_later_have_no_numbers(run: Path) -> None:
    write_probe(run, "noise", result())
    found = read_probes(run, ["price", "rating", "new"])["noise"]
    assert found["change"].isnull().sel(task="new").all()
    assert (found["change"].sel(task="rating") == 1).all()


def test_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        write_probe(tmp_path / "nothing", "noise", result())
