from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import zarr
from store_rows import make_layout
from zarr.codecs import BloscCodec, Crc32cCodec

from dominance.schema import METRIC_ARRAYS, ArraySpec
from dominance.store.codec import encode
from dominance.store.grid import EVENT_CHUNK, Grid, block_rows, cut


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int8"])
@pytest.mark.parametrize("separator", [".", "/"])
def test_metadata_is_what_zarr_itself_writes(tmp_path: Path, dtype: str, separator: Literal[".", "/"]) -> None:
    spec = ArraySpec("a", ("step", "task", "coord"), (3, 70), dtype)
    zarr.create_array(
        tmp_path / "data.zarr",
        name="a",
        shape=(5, 3, 70),
        chunks=(64, 1, 35),
        dtype=dtype,
        fill_value=np.nan if dtype.startswith("f") else -1,
        compressors=[
            BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize),
            Crc32cCodec(),
        ],
        chunk_key_encoding={"name": "default", "separator": separator},
        dimension_names=spec.dims,
    )
    written = json.loads((tmp_path / "data.zarr" / "a" / "zarr.json").read_bytes())
    ours = json.loads(Grid(spec, (64, 1, 35), separator).metadata(5))
    assert list(ours.pop("attributes")) == ["metadata_checksum"]
    assert ours | {"attributes": {}} == written


def test_chunks_are_those_that_measured_best() -> None:
    layout = make_layout(tasks=3, coords=120_000)
    specs = layout.arrays()
    assert block_rows(specs) == 16  # 11 quantities of 480 kB
    grids = cut(specs, 64)
    assert grids["update/update"].chunk == (64, 1, 40_000)
    assert grids["update/total"].chunk == (64, 40_000)
    assert grids["layer/gram"].chunk == (256, 3, 3, 3)
    assert grids["step"].chunk == (4096,)
    assert cut(specs, 16)["update/update"].chunk == (16, 1, 120_000)
    assert cut(METRIC_ARRAYS, EVENT_CHUNK)["metric/value"].chunk == (4096,)


def test_large_per_layer_statistics_are_cut_along_the_layers() -> None:
    spec = ArraySpec("layer/gram", ("step", "layer", "task", "task_other"), (2000, 9, 9), "float64")
    grid = cut([spec], 64)["layer/gram"]
    assert np.prod(grid.chunk) * 8 <= 2**24
    assert grid.counts[1:] == (1, 1)


@pytest.mark.parametrize("sizes", [(1, 10), (2, 50_000), (4, 3000), (4, 2_000_000)])
def test_rows_are_buffered_so_that_memory_stays_bounded(sizes: tuple[int, int]) -> None:
    specs = make_layout(tasks=sizes[0], coords=sizes[1]).arrays()
    row = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs)
    block = block_rows(specs)
    assert block * row <= max(2**28, 4 * row)
    assert all(grid.rows % block == 0 for grid in cut(specs, block).values())


def test_worst_case_holds_for_noise_in_half_filled_chunks() -> None:
    rng = np.random.default_rng(0)
    grid = Grid(ArraySpec("x", ("step", "task", "coord"), (2, 700), "float32"), (64, 1, 350))
    actual = 0
    for rows in range(1, 65):
        chunk = np.full((64, 1, 350), np.nan, np.float32)
        chunk[:rows] = np.frombuffer(rng.bytes(rows * 350 * 4), np.float32).reshape(rows, 1, 350)
        actual = len(encode(chunk))
        assert 4 * actual <= grid.worst_case(0, rows), rows
        assert actual <= grid.largest_file(rows)
    assert grid.worst_case(0, 64) == 4 * actual
    # The chunk that the first row lies in counts whole; a full one before it does not.
    assert grid.worst_case(70, 130) == grid.worst_case(64, 130) == grid.worst_case(0, 66)
    assert grid.worst_case(64, 64) == 0


def test_a_chunk_must_exist_from_the_first_row_that_knows_its_tasks() -> None:
    grid = Grid(ArraySpec("x", ("step", "layer", "task", "task_other"), (1, 3, 3), "float64"), (4, 1, 2, 2))
    since = [0, 0, 5]
    assert grid.must_exist(0, (0, 0, 0), 6, since)
    assert not grid.must_exist(0, (0, 0, 1), 6, since)  # rows 0 to 3 know nothing of the third task
    assert grid.must_exist(1, (0, 0, 1), 6, since)
    assert not grid.must_exist(1, (0, 1, 1), 5, since)
    assert not grid.must_exist(2, (0, 0, 0), 8, since)
