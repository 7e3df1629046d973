from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from long_runs import write_long_run
from runs import make_run, planted_rows, write_run

from dominance import au, open_run, rau_buckets
from dominance.analyse.tiling import Blocks, TiledArray, TilePlan, over_tiles, tiles
from dominance.errors import CorruptRun

PATHS = ["update/update", "update/total"]


def collect(coords: slice, blocks: Blocks) -> tuple[slice, dict[str, np.ndarray], list[slice]]:
    steps: list[Any] = []
    parts: dict[str, list[Any]] = {path: [] for path in PATHS}
    for rows, arrays in blocks:
        steps.append(rows)
        for path in PATHS:
            parts[path].append(arrays[path].copy())
    return coords, {path: np.concatenate(part) for path, part in parts.items()}, steps


@given(
    st.lists(st.booleans(), min_size=1, max_size=60).filter(any),
    st.integers(1, 70),
    st.integers(100, 20_000),
)
@settings(deadline=None, max_examples=40)
def test_tiles_cover_what_is_wanted_once(wanted: list[bool], width: int, memory: int) -> None:
    run = make_run(np.zeros((2, 2, len(wanted))))
    plan = TilePlan(steps=64, coords=width, memory=memory)
    mask = np.array(wanted)
    found = tiles(TiledArray(run, "update/update"), mask, plan)
    covered = np.zeros(len(wanted), dtype=int)
    for part in found:
        covered[part] += 1
        assert mask[part.start]
        assert mask[part.stop - 1]
        assert part.start // width == (part.stop - 1) // width  # never across a chunk
        assert part.stop - part.start == 1 or (part.stop - part.start) * 2 * 4 * 64 <= memory + 512
    assert covered.max() == 1
    assert (covered[mask] == 1).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layers", [{"a": 700}, {"a": 60_000, "b": 80_000}])
def test_blocks_are_the_array(tmp_path: Path, threads: int, layers: dict[str, int]) -> None:
    steps_recorded = 200 if sum(layers.values()) < 1000 else 9
    layout, rows = planted_rows(steps=steps_recorded, layers=layers)
    run = open_run(write_run(tmp_path / "run", layout, rows))
    wanted = np.ones(run.sizes["coord"], dtype=bool)
    for coords, arrays, steps in over_tiles(run, PATHS, collect, wanted=wanted, plan=TilePlan(threads=threads)):
        assert steps[0].start == 0
        assert steps[-1].stop == steps_recorded
        for path in PATHS:
            np.testing.assert_array_equal(arrays[path], rows[path][..., coords])


def test_two_tiles_are_worked_on_at_once() -> None:
    run = make_run(np.zeros((1, 2, 10)))
    together = threading.Barrier(2, timeout=20)

    def work(coords: slice, blocks: Blocks) -> int:
        together.wait()
        return coords.start

    found = over_tiles(run, PATHS, work, wanted=np.ones(10, dtype=bool), plan=TilePlan(coords=5))
    assert found == [0, 5]


def test_work_may_stop_early_and_may_fail() -> None:
    run = make_run(np.zeros((100, 2, 10)))
    wanted = np.ones(10, dtype=bool)
    for plan in (TilePlan(steps=3), TilePlan(steps=3, coords=4), TilePlan(steps=3, threads=1)):
        found = over_tiles(run, PATHS, lambda coords, blocks: next(blocks)[0], wanted=wanted, plan=plan)
        assert set(map(str, found)) == {"slice(0, 3, None)"}
        with pytest.raises(ZeroDivisionError):
            over_tiles(run, PATHS, lambda coords, blocks: 1 / 0, wanted=wanted, plan=plan)


def test_a_flipped_bit_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=5))
    chunk = next((run / "data.zarr/update/update").glob("c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    tree = open_run(run)
    with pytest.raises(CorruptRun, match="checksum"):
        over_tiles(tree, PATHS, collect, wanted=np.ones(tree.sizes["coord"], dtype=bool))


@pytest.mark.parametrize("analyse", [au, lambda run: rau_buckets(run, points=20)])
def test_memory_does_not_grow_with_the_steps(tmp_path: Path, analyse: Callable[[xr.DataTree], xr.Dataset]) -> None:
    peaks = []
    for steps in (128, 1280):
        run = open_run(write_long_run(tmp_path / str(steps), steps, coords=20_000, tasks=2))
        size = run["update/update"].nbytes
        tracemalloc.start()
        assert analyse(run).attrs["steps_used"] == steps
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 200e6
    assert peaks[1] < peaks[0] + 2e6
    assert peaks[1] < size / 5
