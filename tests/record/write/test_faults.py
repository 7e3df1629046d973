"""Faults of the disk, and two recordings of one directory: the training goes on, and it is said in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path

import pytest
import torch
from record.losses import Data, Net

from dominance import Recorder, open_run
from dominance.errors import RecordingFailed, RunExists
from dominance.store.disk import Disk


def train(net: Net, optimizer: torch.optim.Optimizer, steps: int) -> None:
    data = Data()
    for _ in range(steps):
        out = net(data.x)
        optimizer.zero_grad()
        (data.mse(out) + data.ce(out)).backward()
        optimizer.step()


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(disk: Disk, path: Path, data: bytes) -> None:
        raise OSError(ENOSPC, os.strerror(ENOSPC))

    monkeypatch.setattr(Disk, "_write", full)


def test_a_disk_that_fills_in_mid_run_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer) as recorder:
        train(net, optimizer, 3)
        recorder.flush()
        with monkeypatch.context() as broken:
            fill_disk(broken)
            train(net, optimizer, 2)
            with pytest.raises(OSError, match="No space left"):
                recorder.flush()
            train(net, optimizer, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if "No space left" in line]
    assert len(said) == 1
    assert "the training goes on" in said[0]
    run = open_run(tmp_path / "run")
    assert (run.attrs["status"], run.sizes["step"]) == ("interrupted", 3)


def test_a_disk_that_is_full_at_the_end_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run", net, optimizer)
    with recorder, monkeypatch.context() as broken:
        train(net, optimizer, 3)
        recorder.flush()
        train(net, optimizer, 1)
        fill_disk(broken)
        with pytest.raises(RecordingFailed, match=r"to its end \(No space left"):
            recorder.close()
    assert open_run(tmp_path / "run").sizes["step"] == 3


def test_two_recorders_do_not_write_one_run(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer) as first:
        train(net, optimizer, 2)
        with pytest.raises(RunExists, match="in progress"), Recorder(tmp_path / "run", net, optimizer, overwrite=True):
            pass
        train(net, optimizer, 1)
        first.flush()
    assert open_run(tmp_path / "run").sizes["step"] == 3


def test_a_recorder_that_sees_no_step_leaves_no_folder(tmp_path: Path) -> None:
    net = Net()
    with Recorder(tmp_path / "run", net, torch.optim.SGD(net.parameters(), lr=0.1)):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


WAITS = "import sys; print('begun', flush=True); sys.stdin.read()"


@pytest.mark.parametrize("option", ["--force", "--resume", "-q"])
def test_record_begins_no_script_whose_run_another_process_writes(tmp_path: Path, option: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(WAITS)
    command = [sys.executable, "-m", "dominance", "record", "-o", str(tmp_path / "run"), option, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        second = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert second.returncode == 2
        assert "begun" not in second.stdout
        assert second.stderr.count("\n") == 1
        assert "in progress" in second.stderr
        first.communicate("")
    assert first.returncode == 0
    assert not (tmp_path / "run").exists()


def test_processes_that_are_launched_together_have_a_run_each(tmp_path: Path) -> None:
    from dominance.record.launch import of_rank

    code = "from pathlib import Path; from dominance.record.launch import of_rank; print(of_rank(Path('runs/a')))"
    for world, rank, path in (
        ("2", "0", "runs/a"),
        ("2", "1", "runs/a-rank1"),
        ("1", "3", "runs/a"),
        ("", "", "runs/a"),
    ):
        environment = os.environ | {"WORLD_SIZE": world, "RANK": rank}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.strip() == path
    assert of_rank(Path("x")) == Path("x")
