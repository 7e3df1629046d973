"""Links inside a run directory, which a stranger may have put there: nothing outside is deleted, written or read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from store_rows import make_layout, make_row, write_run

from dominance.errors import DominanceError, RecordingFailed, RunExists
from dominance.store.probes import write_probe
from dominance.store.reader import open_run
from dominance.store.verify import verify
from dominance.store.writer import RunWriter


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "kept").mkdir(parents=True)
    (folder / "kept" / "file").write_text("precious")
    return folder


def untouched(outside: Path) -> bool:
    return sorted(p.relative_to(outside).as_posix() for p in outside.rglob("*")) == ["kept", "kept/file"]


@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_data_that_is_a_link_is_not_written_through(tmp_path: Path, outside: Path, how: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data.zarr").symlink_to(outside)
    with pytest.raises(RunExists, match="is a link"):
        RunWriter(tmp_path / "run", make_layout(), overwrite=how == "overwrite", resume=how == "resume")
    assert untouched(outside)


@pytest.mark.parametrize("where", ["probe", "update", "update/update", "loss/loss/c.0.0"])
def test_a_run_with_a_link_in_it_is_replaced_without_what_it_points_to(
    tmp_path: Path, outside: Path, where: str
) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    place = path / "data.zarr" / where
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(outside)
    with RunWriter(path, make_layout(), exact=True, overwrite=True) as writer:
        writer.append(make_row(make_layout(), 0))
    assert untouched(outside)
    assert open_run(path).sizes["step"] == 1


def test_a_run_with_a_link_in_it_is_not_resumed(tmp_path: Path, outside: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    shutil.move(path / "data.zarr" / "loss", tmp_path / "loss")
    (path / "data.zarr" / "loss").symlink_to(tmp_path / "loss")
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "loss").rglob("*"))
    with pytest.raises(DominanceError, match="link"):
        RunWriter(path, make_layout(), exact=True, resume=True)
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "loss").rglob("*")) == before


def test_a_probe_is_not_written_through_a_link(tmp_path: Path, outside: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    (path / "data.zarr" / "probe").symlink_to(outside)
    with pytest.raises(RecordingFailed, match="is a link"):
        write_probe(path, "noise", xr.Dataset({"a": ("x", np.ones(3))}))
    assert untouched(outside)


@pytest.mark.parametrize("where", ["loss/loss/c.0.0", "loss", "zarr.json", "coord/index"])
def test_nothing_is_read_past_the_folder(tmp_path: Path, where: str) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    place = path / "data.zarr" / where
    shutil.move(place, tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DominanceError, match="link"):
        open_run(path)["loss/loss"].load()


def test_a_link_to_a_run_is_the_run(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    (tmp_path / "latest").symlink_to(path)
    assert open_run(tmp_path / "latest").sizes["step"] == 3
    assert verify(tmp_path / "latest") == []
