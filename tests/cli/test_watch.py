"""A run that is watched: once, from a pipe, and on a terminal while another process writes it."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance_cli.main import main

pty = pytest.importorskip("pty")


def told(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def set_status(path: Path, status: str) -> None:
    root = path / "data.zarr" / "zarr.json"
    document = json.loads(root.read_bytes())
    document["attributes"]["status"] = status
    other = root.with_suffix(".new")
    other.write_text(json.dumps(document))
    other.replace(root)  # as the writer does: a reader never sees half of it


def test_a_pipe_gets_a_line_a_look_and_the_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=30, layers={"trunk": 40}))
    assert told("watch", str(path)) == 0
    first, last = capfd.readouterr().out.splitlines()
    assert first.startswith("step 29: ")
    assert "effective tasks" in first
    assert last == "complete"


def test_a_run_that_was_killed_is_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=30, layers={"trunk": 40}, attrs={"host": platform.node()}))
    set_status(path, "recording")
    assert told("watch", str(path)) == 0
    assert capfd.readouterr().out.splitlines()[-1].endswith(": killed")


@pytest.mark.parametrize(("every", "said"), [("0", "out of range"), ("nan", "out of range")])
def test_seconds_that_are_none(tmp_path: Path, capfd: pytest.CaptureFixture[str], every: str, said: str) -> None:
    assert told("watch", str(tmp_path), "--every", every) == 2
    assert said in capfd.readouterr().err


def test_no_run_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert told("watch", str(tmp_path / "nothing")) == 2
    assert capfd.readouterr().err.count("\n") == 1


HOLD = "import sys; from pathlib import Path; from dominance.store.lock import RunLock;"
HOLD += "lock = RunLock(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"


WATCH = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"  # else one inherits "ignored"
WATCH += "from dominance_cli.main import main; main(['watch', sys.argv[1], '--every', '0.1'])"


class Terminal:
    """``dominance watch`` on a terminal of its own; what it has drawn so far is ``screen``."""

    def __init__(self, path: Path) -> None:
        ours, theirs = pty.openpty()
        self._ours = ours
        self.screen = b""
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCH, str(path)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True,
        )  # fmt: skip
        os.close(theirs)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self.screen += os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                return

    def wait_for(self, text: bytes, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while text not in self.screen:
            assert time.monotonic() < end, self.screen
            time.sleep(0.05)

    def press(self, key: str) -> None:
        if key == "q":
            os.write(self._ours, b"q")
        else:  # the terminal is not the one that controls the process
            self.process.send_signal(signal.SIGINT)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes], Terminal]]:
    """A run that another process holds, that process, and a terminal that shows the run."""
    path = write_run(tmp_path / "run", *planted_rows(steps=30, layers={"trunk": 40}, attrs={"host": platform.node()}))
    set_status(path, "recording")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        terminal = Terminal(path)
        terminal.wait_for(b"q: leave")
        yield path, writer, terminal
        writer.kill()


@pytest.mark.parametrize("key", ["q", "Ctrl-C"])
def test_a_key_leaves_and_the_run_goes_on(watched: tuple[Path, subprocess.Popen[bytes], Terminal], key: str) -> None:
    _, writer, terminal = watched
    terminal.press(key)
    assert terminal.process.wait(60) == 0
    terminal.wait_for(b"dominance summary")
    assert b"Traceback" not in terminal.screen
    assert writer.poll() is None


def test_the_end_of_the_training_ends_it(watched: tuple[Path, subprocess.Popen[bytes], Terminal]) -> None:
    path, _, terminal = watched
    set_status(path, "complete")
    assert terminal.process.wait(60) == 0
    terminal.wait_for(b"complete")
