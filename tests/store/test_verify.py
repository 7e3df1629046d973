from __future__ import annotations

from pathlib import Path

import pytest
from store_rows import make_layout, write_run

from dominance.errors import CorruptRun, NotARun
from dominance.store.reader import open_run
from dominance.store.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", make_layout(), 70)


def flip(file: Path, place: int = -9) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 16
    file.write_bytes(bytes(data))


def test_a_whole_run_has_no_problems(path: Path) -> None:
    assert verify(path) == verify(str(path)) == []


def test_every_flipped_bit_is_found_and_named(path: Path) -> None:
    chunks = sorted(p for p in (path / "data.zarr").rglob("c/**/*") if p.is_file() and "coord" not in p.parts)
    assert len(chunks) > 20
    for chunk in chunks:
        flip(chunk)
        (problem,) = verify(path)
        key = chunk.relative_to(path / "data.zarr").as_posix()
        assert key in problem
        assert "checksum does not match" in problem
        flip(chunk)
    assert verify(path) == []


def test_reading_a_flipped_bit_raises(path: Path) -> None:
    flip(path / "data.zarr" / "update" / "update" / "c" / "1" / "0" / "0")
    run = open_run(path)
    assert run["update/update"][:64].load().size
    with pytest.raises(CorruptRun, match=r"update/update cannot be read.*--verify"):
        run["update/update"].load()


def test_what_is_missing_is_found(path: Path) -> None:
    (path / "data.zarr" / "update" / "total" / "c" / "1" / "0").unlink()
    (path / "data.zarr" / "loss" / "loss" / "zarr.json").unlink()
    problems = verify(path)
    assert len(problems) == 2
    assert "update/total: chunk update/total/c/1/0 (rows 64 to 69) is missing" in problems
    assert "array loss/loss cannot be read" in problems[1]


def test_damaged_coordinates_are_found(path: Path) -> None:
    flip(path / "data.zarr" / "coord" / "index" / "c" / "0")
    (problem,) = verify(path)
    assert "coord/index cannot be read" in problem


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        verify(tmp_path)
