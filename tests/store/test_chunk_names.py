"""Files of chunks: few, in one folder for each array; and in folders of their own, as runs of before have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from store_rows import du, expected, make_layout, make_row, noise_row, write_run

from dominance.store.grid import block_rows, cut
from dominance.store.reader import open_run
from dominance.store.seal import resealed
from dominance.store.verify import verify
from dominance.store.writer import RunWriter


def put_chunks_into_folders(path: Path) -> None:
    """The run as an older dominance wrote it."""
    root = path / "data.zarr"
    for chunk in list(root.rglob("c.*")):
        target = chunk.parent.joinpath(*chunk.name.split("."))
        target.parent.mkdir(parents=True, exist_ok=True)
        chunk.rename(target)
    for document in root.rglob("zarr.json"):
        text = document.read_text().replace('"separator": "."', '"separator": "/"')
        document.write_bytes(resealed(text.encode()))


def test_runs_whose_chunks_lie_in_folders_are_read_and_go_on_so(tmp_path: Path) -> None:
    layout = make_layout()
    path = write_run(tmp_path / "run", layout, 300)
    put_chunks_into_folders(path)
    assert verify(path) == []
    np.testing.assert_array_equal(open_run(path)["update/update"], expected(layout, "update/update", 300))
    with RunWriter(path, layout, exact=True, resume=True, keep=(290, 0), budget=2_000_000) as writer:
        assert writer.append(make_row(layout, 290))
        writer.flush()
        assert du(path) <= writer.bytes_written <= 2_000_000
    assert not list(path.rglob("c.*"))
    assert verify(path) == []
    np.testing.assert_array_equal(open_run(path)["update/update"], expected(layout, "update/update", 291))
    # Cut back to nothing, it loses what lies behind in its folders, too.
    with RunWriter(path, layout, exact=True, resume=True, keep=(0, 0)):
        assert not [
            file for file in (path / "data.zarr").rglob("c/**/*") if file.is_file() and "coord" not in file.parts
        ]


def test_zarr_itself_reads_them(tmp_path: Path) -> None:
    layout = make_layout()
    path = write_run(tmp_path / "run", layout, 70)
    stored = zarr.open_array(path / "data.zarr" / "update" / "update", mode="r")
    np.testing.assert_array_equal(stored[:], expected(layout, "update/update", 70))


def test_a_long_run_of_small_rows_is_few_files_and_wastes_little_of_its_blocks(tmp_path: Path) -> None:
    layout, rng, budget = make_layout(coords=20), np.random.default_rng(0), 20_000_000
    rows = [noise_row(layout, rng) for _ in range(500)]
    with RunWriter(tmp_path / "run", layout, exact=True, budget=budget) as writer:
        for step in range(6000):
            assert writer.append(rows[step % 500] | {"step": step})
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert len(files) < 300
    assert du(tmp_path / "run") <= min(budget, 1.25 * sum(file.stat().st_size for file in files))
    assert open_run(tmp_path / "run").sizes["step"] == 6000


def test_chunks_are_shorter_where_the_budget_is_small() -> None:
    specs = make_layout().arrays()
    for budget in (10**6, 4 * 10**6, 10**8, None):
        grids = cut(specs, block_rows(specs, budget), budget)
        begun = sum(grid.largest * int(np.prod(grid.counts)) for grid in grids.values())
        assert budget is None or begun <= max(budget / 4, 150_000)
    assert grids["update/update"].rows == 1024
