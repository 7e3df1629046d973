from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from store_rows import files_of, make_layout, write_run

from dominance.errors import BadOption, RunExists
from dominance.store.reader import open_run
from dominance.store.verify import verify
from dominance.store.writer import RunWriter


def test_an_existing_run_is_not_touched_without_a_flag(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", make_layout(), 3)
    before = files_of(run)
    with pytest.raises(RunExists, match="a run already; add --force to replace it or --resume to go on"):
        RunWriter(run, make_layout())
    with pytest.raises(BadOption, match="exclude each other"):
        RunWriter(run, make_layout(), overwrite=True, resume=True)
    assert files_of(run) == before


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("content", ["note.txt", "data.zarr/zarr.json", "data.zarr/.zgroup"])
def test_what_is_no_run_is_never_deleted(tmp_path: Path, content: str, flags: dict[str, Any]) -> None:
    path = tmp_path / "mine" / content
    path.parent.mkdir(parents=True)
    path.write_text('{"attributes": {}, "zarr_format": 3, "node_type": "group"}')
    with pytest.raises(RunExists, match="no dominance run; choose another directory"):
        RunWriter(tmp_path / "mine", make_layout(), **flags)
    assert path.exists()
    with pytest.raises(RunExists, match="is a file"):
        RunWriter(path, make_layout(), **flags)


def test_overwriting_replaces_the_run_and_leaves_other_files(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", make_layout(), 90)
    (run / "report.pdf").write_text("mine")
    write_run(run, make_layout(coords=7), 2, overwrite=True)
    assert open_run(run).sizes["step"] == 2
    assert (run / "report.pdf").read_text() == "mine"
    assert verify(run) == []
    write_run(run, make_layout(), 1, overwrite=True)


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadOption, match="cannot be made"):
        RunWriter(tmp_path / "file" / "run", make_layout())
