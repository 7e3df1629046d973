"""One process writes a run: what others are told, and what lets them in again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_rows import in_child, make_layout, make_row, write_run

from dominance.errors import BadOption, RunExists
from dominance.store.lock import NAME, RunLock, occupied
from dominance.store.reader import open_run
from dominance.store.writer import RunWriter

HOLDER = """
import sys
from pathlib import Path
from dominance.store.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its stdin closes, or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_until_the_holder_is_killed(tmp_path: Path) -> None:
    with hold(tmp_path / "run") as process:
        with pytest.raises(RunExists, match="a recording in progress writes into it"):
            RunLock(tmp_path / "run")
        process.kill()
    RunLock(tmp_path / "run").release()


@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_a_run_that_is_being_written_is_neither_replaced_nor_resumed(tmp_path: Path, how: str) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    before = (path / "data.zarr" / "zarr.json").read_bytes()
    with hold(path) as process:
        with pytest.raises(RunExists, match="in progress"):
            RunWriter(path, make_layout(), exact=True, overwrite=how == "overwrite", resume=how == "resume")
        process.kill()
    assert (path / "data.zarr" / "zarr.json").read_bytes() == before
    assert open_run(path).sizes["step"] == 3


def test_two_recorders_of_one_process_are_told_apart(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_layout()) as writer:
        for _ in range(2):  # a refusal gives nothing up
            with pytest.raises(RunExists, match="in progress"):
                RunWriter(tmp_path / "run", make_layout(), overwrite=True)
        writer.append(make_row(make_layout(), 0))
        with hold(tmp_path / "other") as process:
            process.kill()
    assert open_run(tmp_path / "run").sizes["step"] == 1


def test_races_of_many_have_one_winner(tmp_path: Path) -> None:
    code = HOLDER.replace('print("held", flush=True)', 'print("held", flush=True); print("won", flush=True)')
    for trial in range(3):
        command = [sys.executable, "-c", code, str(tmp_path / f"run{trial}")]
        racers = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            for _ in range(4)
        ]
        won = 0
        losers = 0
        while losers < 3:
            losers = sum(racer.poll() is not None for racer in racers)
        for racer in racers:
            out, _ = racer.communicate("")
            won += "won" in out
        assert won == 1


def test_released_it_leaves_nothing_behind(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "new" / "run")
    assert (tmp_path / "new" / "run" / NAME).exists()
    assert not occupied(tmp_path / "new" / "run")
    lock.release()
    lock.release()
    assert not (tmp_path / "new" / "run").exists()
    path = write_run(tmp_path / "run", make_layout(), 1)
    assert {child.name for child in path.iterdir()} == {"data.zarr"}


def test_a_writer_that_cannot_begin_gives_the_lock_up(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 1)
    with pytest.raises(RunExists, match="there is a run already"):
        RunWriter(path, make_layout())
    RunWriter(path, make_layout(), exact=True, resume=True).close()


def test_a_forked_child_neither_holds_nor_releases(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "run")
    in_child(lock.release)
    with pytest.raises(RunExists):
        RunLock(tmp_path / "run")
    lock.release()


def test_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunExists, match="is a file"):
        RunLock(tmp_path / "file")
    with pytest.raises(BadOption, match=r"cannot be made or written \(Not a directory\)"):
        RunLock(tmp_path / "file" / "run")


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "run" / NAME)
    with pytest.raises(BadOption, match="cannot be made or written"):
        RunLock(tmp_path / "run")
    assert not (tmp_path / "elsewhere").exists()


def test_an_address_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadOption, match="s3://bucket/run: is an address, which only `dominance record` writes to"):
        occupied(Path("s3://bucket/run"))
    assert not occupied(Path("a:b/run"))
    assert not occupied(Path("s3:"))
