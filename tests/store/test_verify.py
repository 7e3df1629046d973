from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest
import xarray as xr
from store_rows import make_layout, write_run

from dominance.errors import CorruptRun, NotARun, SchemaTooNew
from dominance.store.probes import write_probe
from dominance.store.reader import open_run
from dominance.store.seal import intact
from dominance.store.verify import has_checksums, verify

pytestmark = pytest.mark.usefixtures("blocks_of_64")


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
    chunks = sorted(p for p in (path / "data.zarr").rglob("c.*") if "coord" not in p.parts)
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
    flip(path / "data.zarr" / "update" / "update" / "c.1.0.0")
    run = open_run(path)
    assert run["update/update"][:64].load().size
    with pytest.raises(CorruptRun, match=r"update/update cannot be read.*--verify"):
        run["update/update"].load()


def test_what_is_missing_is_found(path: Path) -> None:
    (path / "data.zarr" / "update" / "total" / "c.1.0").unlink()
    (path / "data.zarr" / "loss" / "loss" / "zarr.json").unlink()
    problems = verify(path)
    assert len(problems) == 2
    assert "update/total: chunk update/total/c.1.0 (rows 64 to 69) is missing" in problems
    assert "array loss/loss cannot be read" in problems[1]


def test_damaged_coordinates_are_found(path: Path) -> None:
    flip(path / "data.zarr" / "coord" / "index" / "c.0")
    (problem,) = verify(path)
    assert "coord/index cannot be read" in problem


def test_what_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        verify(tmp_path)


def test_every_flipped_bit_of_the_metadata_is_found(path: Path) -> None:
    write_probe(path, "noise", xr.Dataset({"a": ("x", np.ones(3))}))
    documents = sorted((path / "data.zarr").rglob("zarr.json"))
    rng = Random(0)
    for document in [*documents, *[path / "data.zarr" / "zarr.json"] * 30]:
        whole = document.read_bytes()
        place = rng.randrange(len(whole))
        document.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        with suppress(NotARun, SchemaTooNew):
            assert verify(path) != []
        document.write_bytes(whole)
    assert verify(path) == []


@pytest.mark.parametrize("name", ["", "step", "coord", "update/update"])
def test_metadata_that_lost_their_checksum_are_named(path: Path, name: str) -> None:
    without_checksums(path, name)
    assert verify(path) == [f"{name}/zarr.json: its checksum is missing".lstrip("/")]
    assert has_checksums(path)


def without_checksums(path: Path, *names: str) -> None:
    for name in names or [str(each.parent.relative_to(path / "data.zarr")) for each in path.rglob("zarr.json")]:
        file = path / "data.zarr" / name / "zarr.json"
        document = json.loads(file.read_bytes())
        del document["attributes"]["metadata_checksum"]
        document.pop("consolidated_metadata", None)
        file.write_text(json.dumps(document))


def test_an_older_run_has_no_checksums_of_metadata_and_is_sound(path: Path) -> None:
    without_checksums(path)
    assert verify(path) == []
    assert not has_checksums(path)
    assert open_run(path).sizes["step"] == 70


def test_an_older_run_that_is_resumed_gets_checksums(path: Path) -> None:
    write_probe(path, "noise", xr.Dataset({"a": ("x", np.ones(3))}))
    without_checksums(path)
    write_run(path, make_layout(), 75, resume=True)
    assert verify(path) == []
    assert all(intact(file.read_bytes()) for file in path.rglob("zarr.json"))
