"""A run directory that goes away while it is written, and a disk that is full: said once, and nothing is made anew."""

from __future__ import annotations

import os
import shutil
from errno import ENOSPC
from pathlib import Path

import pytest
from store_rows import attributes_of, make_layout, make_row

from dominance.errors import RecordingFailed
from dominance.store.disk import Disk
from dominance.store.writer import RunWriter


def write(writer: RunWriter, step: int) -> None:
    writer.append(make_row(make_layout(), step))
    writer.flush()


@pytest.mark.parametrize("how", [shutil.rmtree, lambda path: os.rename(path, path.with_name("moved"))])
def test_a_run_that_is_gone_is_not_made_again(tmp_path: Path, how) -> None:
    path = tmp_path / "run"
    writer = RunWriter(path, make_layout())
    write(writer, 0)
    how(path)
    with pytest.raises(RecordingFailed, match=r"run: the run directory is gone; leave it in its place"):
        write(writer, 1)
    writer.close()  # it has been told
    assert not path.exists()


def test_on_a_full_disk_the_run_ends_as_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    writer = RunWriter(path, make_layout())
    write(writer, 0)
    real, full = Disk._write, True

    def limited(disk: Disk, file: Path, data: bytes) -> None:
        if full and "/c." in file.as_posix():
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        real(disk, file, data)

    monkeypatch.setattr(Disk, "_write", limited)
    with pytest.raises(OSError, match="No space left"):
        write(writer, 1)
    writer.close(complete=False)
    found = attributes_of(path)
    assert (found["status"], found["committed_steps"]) == ("interrupted", 1)
