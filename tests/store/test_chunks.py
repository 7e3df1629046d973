from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from runs import make_rows, planted_rows, write_run

from dominance import open_run
from dominance.errors import CorruptRun
from dominance.store.chunks import ChunkReader, supports
from dominance.store.reader import array
from dominance.store.writer import RunWriter


@pytest.mark.parametrize("path", ["update/update", "update/total"])
def test_reads_what_zarr_reads(tmp_path: Path, path: str) -> None:
    layers = {"a": 60_000, "b": 70_300}
    stored = array(open_run(write_run(tmp_path / "run", *planted_rows(steps=20, layers=layers))), path)
    assert stored is not None
    assert supports(stored)
    length, width = stored.chunks[0], stored.chunks[-1]
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
            np.testing.assert_array_equal(reader.read(steps), stored[(steps, ..., coords)])


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
    assert stored is not None
    reader = ChunkReader(stored, slice(0, 5))
    length = stored.chunks[0]
    for start in range(0, 101, length):
        steps = slice(start, min(start + length, 101))
        np.testing.assert_array_equal(reader.read(steps), stored[steps])
    assert (stored[100] == 7).all()
    assert np.isnan(stored[:100, 2]).all()


def test_a_cut_chunk_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=3))
    stored = array(open_run(run), "update/update")
    assert stored is not None
    chunk = run / "data.zarr/update/update/c/0/0/0"
    whole = chunk.read_bytes()
    for length in (0, 3, 4, 10, len(whole) - 1):
        chunk.write_bytes(whole[:length])
        with pytest.raises(CorruptRun, match="c/0/0/0: cannot be read"):
            ChunkReader(stored, slice(0, 10)).read(slice(0, 3))


def test_other_codecs_are_left_to_zarr(tmp_path: Path) -> None:
    other = zarr.create_array(tmp_path / "other.zarr", shape=(4, 2, 6), chunks=(4, 1, 6), dtype="float32")
    assert not supports(other)
    with pytest.raises(ValueError, match="not written by dominance"):
        ChunkReader(other, slice(0, 6))
    assert not supports(zarr.create_array({}, shape=(4, 2, 6), chunks=(4, 2, 6), dtype="float32"))
