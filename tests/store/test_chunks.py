from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from runs import make_rows, planted_rows, write_run

from dominance import open_run
from dominance.errors import CorruptRun
from dominance.store.chunks import ChunkReader, supports
from dominance.store.lazy import StoredArray, behind
from dominance.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("blocks_of_64")


def array(run: xr.DataTree, path: str) -> StoredArray:
    found = behind(run[path].variable)
    assert found is not None
    return found


@pytest.mark.parametrize("path", ["update/update", "update/total"])
def test_reads_what_zarr_reads(tmp_path: Path, path: str) -> None:
    layers = {"a": 60_000, "b": 70_300}
    stored = array(open_run(write_run(tmp_path / "run", *planted_rows(steps=20, layers=layers))), path)
    assert supports(stored)
    length, width = stored.grid.rows, stored.grid.chunk[-1]
    total = stored.shape[-1]
    for coords in (
        slice(0, total),
        slice(0, width),
        slice(width, total),
        slice(17, width + 5),
        slice(width + 1, total - 1),
    ):
        reader = ChunkReader(stored, coords)
        for start in range(0, 20, length):
            steps = slice(start, min(start + length, 20))
            np.testing.assert_array_equal(reader.read(steps), stored.stored[(steps, ..., coords)])


def test_a_task_found_later_is_nan_before(tmp_path: Path) -> None:
    layout, rows = make_rows(np.ones((3, 2, 5)))
    writer = RunWriter(tmp_path / "run", layout)
    writer.append({"step": 0, "update/update": rows["update/update"][0]})
    writer.flush()
    for step in range(1, 100):
        writer.append({"step": step, "update/update": rows["update/update"][0]})
    writer.grow_tasks(["c"])
    writer.append({"step": 100, "update/update": np.full((3, 5), 7.0, dtype=np.float32)})
    writer.close()
    stored = array(open_run(tmp_path / "run"), "update/update")
    reader = ChunkReader(stored, slice(0, 5))
    length = stored.grid.rows
    for start in range(0, 101, length):
        steps = slice(start, min(start + length, 101))
        np.testing.assert_array_equal(reader.read(steps), stored.stored[steps])
        np.testing.assert_array_equal(reader.read(steps), stored.read((steps,)))
    assert (stored.read()[100] == 7).all()
    assert np.isnan(stored.read()[:100, 2]).all()


def test_a_cut_chunk_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=3))
    stored = array(open_run(run), "update/update")
    chunk = run / "data.zarr/update/update/c.0.0.0"
    whole = chunk.read_bytes()
    for length in (0, 3, 4, 10, len(whole) - 1):
        chunk.write_bytes(whole[:length])
        with pytest.raises(CorruptRun, match=r"c\.0\.0\.0: cannot be read"):
            ChunkReader(stored, slice(0, 10)).read(slice(0, 3))


def test_a_missing_chunk_is_an_error_and_no_nan(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=3))
    stored = array(open_run(run), "update/update")
    (run / "data.zarr/update/update/c.0.1.0").unlink()
    for read in (lambda: ChunkReader(stored, slice(0, 10)).read(slice(0, 3)), stored.read):
        with pytest.raises(CorruptRun, match=r"chunk update/update/c\.0\.1\.0 is missing"):
            read()


def test_chunks_of_several_tasks_are_not_for_it(tmp_path: Path) -> None:
    stored = array(open_run(write_run(tmp_path / "run", *planted_rows(steps=3))), "loss/loss")
    assert stored.grid.chunk[1:] == (2,)
    reader = StoredArray(stored.files, stored.grid, 3)
    assert supports(reader)
    with pytest.raises(ValueError, match="several tasks"):
        ChunkReader(array(open_run(tmp_path / "run"), "layer/gram"), slice(0, 6))
