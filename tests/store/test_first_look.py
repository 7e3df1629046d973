"""What is known of a run directory before a script starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_rows import make_layout, write_run

from dominance.errors import BadOption, CorruptRun, RunExists
from dominance.store.first_look import check_replaceable, check_resumable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", make_layout(), 3)


def resumable(path: Path, *, exact: bool = True, attribution: str = "additive", but: str = "") -> None:
    check_resumable(path, exact=exact, attribution=attribution, records=lambda name: name != but)


def test_a_run_is_replaceable_and_resumable(path: Path) -> None:
    check_replaceable(path)
    resumable(path)


@pytest.mark.parametrize("name", ["file", "data.zarr/file"])
def test_what_is_no_run_is_neither(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("precious")
    for check in (check_replaceable, resumable):
        with pytest.raises(RunExists, match="no dominance run"):
            check(tmp_path)


def test_a_run_that_was_killed_before_its_root_was_written_is_both(path: Path) -> None:
    (path / "data.zarr" / "zarr.json").unlink()
    check_replaceable(path)
    resumable(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"exact": False}, "it was recorded with --exact"),
        ({"attribution": "both"}, "its attribution is additive, not both"),
        ({"but": "trunk.1.weight"}, "--params leaves out trunk.1.weight"),
    ],
)
def test_other_options_than_those_of_the_run(path: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(BadOption, match=says):
        resumable(path, **options)  # type: ignore[arg-type]


def test_a_root_that_cannot_be_read_is_not_resumed(path: Path) -> None:
    for text in ("{", "[]", json.dumps({"attributes": {"exact": 3}})):
        (path / "data.zarr" / "zarr.json").write_text(text)
        check_replaceable(path)
        with pytest.raises(CorruptRun, match="cannot be read"):
            resumable(path)
