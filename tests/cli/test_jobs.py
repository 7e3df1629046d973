"""Jobs run in processes of their own, once, and go on where they were stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dominance_cli.jobs import JobResults, Running, run_jobs

SCRIPT = """
import pathlib, signal, sys, time
*words, out = sys.argv[1:]
out = pathlib.Path(out)
if words[:2] == ["train", "--resume"]:
    (out / "resumed").touch()
    sys.exit(0)
kind = words[0]
out.mkdir(exist_ok=True)
(out / "began").write_text(str(time.monotonic()))
if kind == "fail":
    print("a traceback\\ndominance: error: the loss is nan", file=sys.stderr)
    sys.exit(1)
if kind == "die":
    sys.exit(7)
if kind == "long":
    def stop(number, frame):
        (out / "checkpoint.pt").touch()
        sys.exit(130)
    signal.signal(signal.SIGINT, stop)
    (out / "ready").touch()
    time.sleep(60)
if kind == "meet":  # both must run at the same time
    end = time.monotonic() + 20
    while len(list(out.parent.glob("meet*/began"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    sys.exit(len(list(out.parent.glob("meet*/began"))) < 2)
"""


@dataclass(frozen=True)
class Fake:
    kind: str
    number: int = 0
    can_resume: bool = True
    module: str = "fake_job"

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    def arguments(self) -> list[str]:
        return [self.kind]


@pytest.fixture(autouse=True)
def _fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake_job.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)


def quietly(outcome: JobResults, running: Sequence[Running]) -> None:
    pass


def run(tmp_path: Path, *jobs: Fake, workers: int = 1) -> JobResults:
    return run_jobs(jobs, tmp_path / "runs", workers=workers, tell=quietly)


def test_what_is_done_is_not_done_again(tmp_path):
    first = run(tmp_path, Fake("fine"), Fake("fine", 1))
    assert list(first.seconds) == ["fine-0", "fine-1"]
    began = (tmp_path / "runs/fine-0/began").read_text()
    again = run(tmp_path, Fake("fine"), Fake("fine", 2))
    assert (again.reused, list(again.seconds), again.failed) == (["fine-0"], ["fine-2"], {})
    assert (tmp_path / "runs/fine-0/began").read_text() == began
    assert "fake_job fine --force -o" in (tmp_path / "runs/fine-0.done").read_text()


def test_a_failed_job_says_its_last_line_and_the_others_run(tmp_path):
    found = run(tmp_path, Fake("fail"), Fake("die"), Fake("fine"))
    assert found.failed == {"fail-0": "dominance: error: the loss is nan", "die-0": "ended with 7"}
    assert set(found.seconds) == {"fail-0", "die-0", "fine-0"}
    assert "a traceback" in (tmp_path / "runs/fail-0.log").read_text()
    assert set(run(tmp_path, Fake("fail"), Fake("fine")).failed) == {"fail-0"}  # tried again


def test_as_many_run_at_the_same_time_as_there_are_workers(tmp_path):
    assert run(tmp_path, Fake("meet"), Fake("meet", 1), workers=2).failed == {}


@pytest.mark.parametrize("can_resume", [True, False])
def test_after_ctrl_c_the_processes_have_ended_and_the_same_call_goes_on(tmp_path, can_resume):
    jobs = [Fake("long", number, can_resume) for number in (0, 1)]
    ready = [tmp_path / f"runs/long-{number}/ready" for number in (0, 1)]
    processes: list[Any] = []

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        processes[:] = [each.process for each in running]
        if all(path.exists() for path in ready):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "runs", workers=2, tell=tell)
    assert [process.exitcode for process in processes] == [130, 130]
    assert not list((tmp_path / "runs").glob("*.done"))
    if can_resume:
        assert run(tmp_path, *jobs).failed == {}
        assert (tmp_path / "runs/long-0/resumed").exists()
    else:
        (tmp_path / "fake_job.py").write_text("import sys; assert '--resume' not in sys.argv")
        assert run(tmp_path, *jobs).failed == {}


def test_a_job_that_was_killed_is_gone_on_with(tmp_path):
    """No mark says that it is done; its checkpoint says where to go on."""
    job, folder = Fake("long"), tmp_path / "runs/long-0"

    def kill() -> None:
        end = time.monotonic() + 20
        while not (folder / "ready").exists() and time.monotonic() < end:
            time.sleep(0.01)
        (folder / "checkpoint.pt").touch()
        os.kill(pids[0], signal.SIGKILL)

    pids: list[int] = []

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running and not pids:
            pids.append(running[0].process.pid)
            threading.Thread(target=kill).start()

    found = run_jobs([job], tmp_path / "runs", workers=1, tell=tell)
    assert found.failed == {"long-0": "ended with -9"}
    assert run(tmp_path, job).failed == {}
    assert (folder / "resumed").exists()
