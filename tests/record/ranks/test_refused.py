"""What keeps the first process from recording ends every process, before the script has begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import record.distributed_training as training
from record.launched import Launcher


def what_is_no_run(path: Path) -> None:
    path.mkdir()
    (path / "notes").write_text("mine")


def what_is_a_run(path: Path) -> None:
    path.mkdir()
    (path / "data.zarr").mkdir()
    (path / "data.zarr" / "zarr.json").write_text("{}")


@pytest.mark.parametrize(
    ("there", "flags", "said"),
    [
        (what_is_a_run, [], "run exists; give --force to replace it, --resume to go on with it, or another -o"),
        (what_is_no_run, ["--force"], "holds something that is no dominance run"),
        (what_is_a_run, ["--resume"], "zarr.json"),
    ],
)
def test_each_says_one_line_and_ends_with_code_2(
    launcher: Launcher, tmp_path: Path, there: Callable[[Path], None], flags: list[str], said: str
) -> None:
    there(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    made = launcher.run(tmp_path, [training.__file__, "plain"], record=["-o", "run", *flags], size=2)
    assert made.codes == [2, 2]
    assert len(made.said) == 2
    assert all(said in line for line in made.said)
    left = {path for path in tmp_path.rglob("*") if path.parent != tmp_path or path.is_dir()}
    assert sorted(left) == [path for path in before if path.is_dir() or path.parent != tmp_path]
