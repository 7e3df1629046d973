"""``dominance report``: files, where they go, and what is said."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance_cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "planted", *planted_rows(steps=6))


def leave(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_report(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One figure into RUN/report; refused the second time; two runs share -o in folders of their own."""
    assert leave("report", str(run), "--figures", "losses", "--format", "svg") == 0
    out, err = capfd.readouterr()
    files = [line for line in out.splitlines() if line.startswith(str(run))]
    assert sorted(Path(line).name for line in files) == ["losses.svg", "report.pdf"]
    assert all(Path(line).stat().st_size > 1000 for line in files)
    assert {Path(line).parent for line in files} == {run / "report"}
    assert any(line.startswith("6 steps are too few to judge by") for line in out.splitlines())
    assert err.splitlines()[-1] == f"dominance summary {run}"

    assert leave("report", str(run), "--figures", "losses", "--format", "svg") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "--force" in err
    assert leave("report", str(run), "--figures", "losses", "--format", "svg", "--force") == 0

    other = tmp_path / "other"
    other.symlink_to(run)
    capfd.readouterr()
    assert leave("report", str(run), str(other), "-o", str(tmp_path)) == 2
    assert "two of the runs have the same name" in capfd.readouterr().err
    assert leave("report", str(run), "--figures", "nothing*") == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_progress_on_a_terminal_only(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a pipe stderr has its last line alone; on a terminal the parts of the report are counted."""
    assert leave("report", str(run), "--figures", "losses", "-o", str(tmp_path / "quiet")) == 0
    assert capfd.readouterr().err == f"dominance summary {run}\n"
    outside, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dominance", "report", str(run), "--figures", "losses", "-o", str(tmp_path / "shown")],
        stdout=subprocess.DEVNULL, stderr=inside, env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )  # fmt: skip
    os.close(inside)
    text = b"".join(iter(lambda: _read(outside), b"")).decode()
    assert process.wait(timeout=120) == 0
    os.close(outside)
    assert f"report of {run.name}" in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side has closed
        return b""
