"""What the commands say of a run that did not end."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance.store.lock import RunLock
from dominance_cli.main import main
from dominance_cli.rundir import opened
from dominance_cli.state import state


def unfinished(path: Path, steps: int = 12, host: str | None = None) -> Path:
    attrs = {"host": host or platform.node()}
    write_run(path, *planted_rows(steps=steps, layers={"trunk": 40}, attrs=attrs))
    root = path / "data.zarr" / "zarr.json"
    document = json.loads(root.read_bytes())
    document["attributes"]["status"] = "recording"
    root.write_text(json.dumps(document))
    return path


def told(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_a_run_whose_writer_is_gone_was_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unfinished(tmp_path / "run")
    assert told("summary", str(path)) == 0
    assert "step 11; recording, last written" in (out := capsys.readouterr().out)
    assert "ago: killed" in out
    assert told("info", str(path)) == 0
    assert "ago: killed" in capsys.readouterr().out


HOLD = "import sys, time; from pathlib import Path; from dominance.store.lock import RunLock;"
HOLD += "lock = RunLock(Path(sys.argv[1])); print(flush=True); time.sleep(60)"


def test_a_run_that_another_process_writes_was_not(tmp_path: Path) -> None:
    path = unfinished(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert state(str(path), opened(str(path))).endswith("ago")
        process.kill()
    assert state(str(path), opened(str(path))).endswith("ago: killed")


def test_to_ask_does_not_give_up_a_lock_of_this_process(tmp_path: Path) -> None:
    path = unfinished(tmp_path / "run")
    lock = RunLock(path)
    assert state(str(path), opened(str(path))).endswith("ago")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-c", HOLD, str(path)], check=True, capture_output=True, timeout=60)
    lock.release()


def test_of_another_machine_only_time_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = unfinished(tmp_path / "run", host="elsewhere")
    assert state(str(path), opened(str(path))).endswith("ago")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert state(str(path), opened(str(path))).endswith("ago: killed, or waiting")


def test_a_killed_run_without_steps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = unfinished(tmp_path / "run", steps=0)
    assert told("summary", str(path)) == 2
    said = capfd.readouterr()
    assert "ago: killed." in said.out
    assert "no step was recorded" in said.err


def test_a_name_that_is_too_long_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["info"], ["summary"], ["report"]):
        assert told(*words, "x" * 300) == 2
        assert "File name too long" in capfd.readouterr().err
