"""Jobs on a dask scheduler with two worker processes that the tests start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from fake_jobs import SCRIPT, Fake, began, run

from dominance.errors import BadOption, Unreachable
from dominance.jobs import on_dask
from dominance.jobs.engine import Running
from dominance.jobs.engines import engine
from dominance.jobs.job import versions_of
from dominance.jobs.on_dask import Dask
from dominance.jobs.run import JobResults, run_jobs
from dominance.jobs.versions import versions
from dominance.papers.jobs import Training
from dominance.schema import DATA_NAME

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("default")  # what the library says of itself while it is torn down


class Cluster:
    """A scheduler and workers, each a process of its own, without a nanny that would start it again."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        (folder / "fake_job.py").write_text(SCRIPT)
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        self.file = folder / "scheduler.json"
        self.scheduler = self._process("dask_scheduler", "--port", "0", "--no-dashboard")
        self.workers = [self.worker() for _ in range(workers)]
        self.client = distributed.Client(scheduler_file=str(self.file), timeout=20, set_as_default=False)
        self.client.wait_for_workers(workers, timeout=30)
        self.address = self.client.scheduler.address

    def worker(self) -> subprocess.Popen[bytes]:
        words = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder))
        return self._process("dask_worker", *words)

    def _process(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(self.file), *words],
                env=self.environment, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip

    def close(self) -> None:
        self.client.close()
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:  # a worker of dask may wait for tasks of its own that never end
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def dask(cluster: Cluster) -> Dask:
    return Dask(cluster.client, None)


def until(path: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists()


def test_jobs_end_as_on_this_machine(tmp_path, dask):
    jobs = [Fake("meet"), Fake("meet", 1), Fake("fail"), Fake("once"), Fake("kill"), Fake("die", fresh=True)]
    found = run(tmp_path, *jobs, engine=dask)
    assert found.failed == {
        "fail-0": "dominance: error: the loss is nan", "kill-0": "it was here", "die-0": "ended with 7",
    }  # fmt: skip
    assert (found.killed, began(tmp_path, Fake("kill"))) == ({"once-0": 1, "kill-0": 3}, 3)
    assert (tmp_path / "runs/once-0/resumed").exists()
    assert versions_of(tmp_path / "runs/meet-0") == versions()
    again = run(tmp_path, *jobs, engine=dask)
    assert set(again.reused) == {"meet-0", "meet-1", "once-0"}


def test_a_second_caller_attaches_to_what_runs(tmp_path, dask, cluster):
    jobs = [Fake("wait"), Fake("fine")]
    results: dict[str, JobResults] = {}
    other = threading.Thread(target=lambda: results.update(other=run(tmp_path, *jobs, engine=dask)))
    other.start()
    until(tmp_path / "runs/wait-0/began")
    threading.Timer(1, (tmp_path / "runs/go").touch).start()
    with distributed.Client(cluster.address, set_as_default=False) as client:
        ours = run(tmp_path, *jobs, engine=Dask(client, None))
    other.join()
    assert [began(tmp_path, job) for job in jobs] == [1, 1]
    assert ours.failed == results["other"].failed == {}
    assert {*ours.seconds, *ours.reused} == {"wait-0", "fine-0"}


def test_ctrl_c_stops_what_runs_and_takes_back_the_rest(tmp_path, dask):
    jobs = [Fake("long", number) for number in range(4)]

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running:
            until(tmp_path / "runs/long-0/ready")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "runs", engine=dask, tell=tell)
    assert (tmp_path / "runs/long-0/checkpoint.pt").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "runs/long-0/began").read_text()), 0)
    assert not (tmp_path / "runs/long-3").exists()


def test_detached_jobs_go_on_and_the_same_call_attaches(tmp_path, cluster):
    jobs = [Fake("wait"), Fake("fine"), Fake("fine", 1)]

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running:
            until(tmp_path / "runs/wait-0/began")
            raise KeyboardInterrupt

    first = engine(f"dask={cluster.address}")
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "runs", engine=first, tell=tell, detach=True)
    first.close(detach=True)
    until(tmp_path / "runs/fine-1.done")
    second = engine(f"dask={cluster.address}")
    threading.Timer(0.5, (tmp_path / "runs/go").touch).start()
    found = run_jobs(jobs, tmp_path / "runs", engine=second)
    second.close()
    assert [began(tmp_path, job) for job in jobs] == [1, 1, 1]
    assert (set(found.reused), found.failed) == ({"fine-0", "fine-1"}, {})


def test_a_worker_killed_in_mid_training_changes_no_bit(tmp_path, cluster, dask):
    jobs = [
        Training("toy-2d", "equal-weight", epochs=epochs, settings={"steps": 100}, every=20, budget="1MB")
        for epochs in (3, 4)
    ]  # fmt: skip
    killed: list[int] = []

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running and not killed:
            until(tmp_path / "dask" / jobs[0].name / DATA_NAME)
            pid = int(Path(f"/proc/{_owner(tmp_path / 'dask' / f'{jobs[0].name}.lock')}/stat").read_text().split()[3])
            worker = int(Path(f"/proc/{pid}/stat").read_text().split()[3])
            assert worker in [each.pid for each in cluster.workers]
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)
            cluster.workers.append(cluster.worker())

    found = run_jobs(jobs, tmp_path / "dask", engine=dask, tell=tell)
    assert len(killed) == 1
    assert found.failed == {}
    assert "--resume" in (tmp_path / "dask" / f"{jobs[0].name}.done").read_text()  # what its helper had it keep
    plain = run_jobs(jobs, tmp_path / "local", engine=engine("local", 1))
    assert plain.failed == {}
    for job in jobs:
        ours, theirs = (torch.load(tmp_path / where / job.name / "checkpoint.pt") for where in ("dask", "local"))
        assert ours["place"] == theirs["place"]
        assert all(torch.equal(ours["model"][key], theirs["model"][key]) for key in theirs["model"])


def _owner(lock: Path) -> int:
    """The process that holds the lock, as the system lists it."""
    inode = lock.stat().st_ino
    (found,) = [line.split()[4] for line in Path("/proc/locks").read_text().splitlines() if f":{inode} " in line]
    return int(found)


def test_workers_with_other_versions_are_named_and_refused(tmp_path, dask, monkeypatch):
    monkeypatch.setattr("dominance.jobs.run.versions", lambda: {**versions(), "torch": "9.9"})
    with pytest.raises(BadOption, match=r"worker tcp:.* has torch .* instead of 9.9; make them alike, or give --mixed"):
        run(tmp_path, Fake("fine"), engine=dask)
    assert not (tmp_path / "runs/fine-0.log").exists()
    assert run(tmp_path, Fake("fine"), engine=dask, mixed=True).failed == {}


def test_workers_that_do_not_see_the_folder_are_refused(tmp_path, dask, monkeypatch):
    """As on a machine that shares no files with ours: the token is not what it was to be."""
    monkeypatch.setattr("dominance.jobs.on_dask.unfit", lambda said, text, wanted: _unfit(said, "another", wanted))
    with pytest.raises(BadOption, match="does not see the output folder; give an -o that all workers share"):
        run(tmp_path, Fake("fine"), engine=dask)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == []


def _unfit(said: str, text: str, wanted: dict[str, str] | None) -> str:
    from dominance.jobs.work import unfit

    return unfit(said, text, wanted)


def test_no_scheduler_is_said_in_one_line_within_ten_seconds(monkeypatch):
    assert on_dask._REACH < 10
    monkeypatch.setattr(on_dask, "_REACH", 1)
    began_at = time.monotonic()
    with pytest.raises(Unreachable, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9; check the"):
        engine("dask=tcp://127.0.0.1:9")
    assert time.monotonic() - began_at < 4
    with pytest.raises(BadOption, match=r"'what://x:1' is no address: .*; write it like dask=tcp://HOST:8786"):
        engine("dask=what://x:1")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:abc", "tcp://127.0.0.1", "127.0.0.1", "what://x:1"])
def test_what_is_no_address_leaves_no_client_behind(address):
    code = f"from dominance.jobs.engines import engine\nengine('dask={address}')"
    began_at = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "is no address" in done.stderr.splitlines()[-1]
    assert "Exception ignored" not in done.stderr
    assert time.monotonic() - began_at < 9  # a client left behind waits ten seconds at the end


def test_ctrl_c_in_the_terminal_reaches_no_worker_of_this_machine():
    made = Dask("", 1)
    try:
        (group,) = made._client.run(os.getpgrp).values()
        (worker,) = made._client.run(os.getpid).values()
    finally:
        made.close()
    assert group == worker != os.getpgrp()


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadOption, match=r"--on dask needs dask; pip install 'dominance\[dask\]'"):
        engine("dask")


def test_a_scheduler_that_goes_away_leaves_what_is_done(tmp_path, tmp_path_factory, monkeypatch):
    import dask.config

    own = Cluster(tmp_path_factory.mktemp("short"), workers=1)
    own.client.close()
    monkeypatch.setattr(on_dask, "_REACH", 2)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        used = engine(f"dask={own.address}")

        def tell(outcome: JobResults, running: Sequence[Running]) -> None:
            if "fine-0" in outcome.seconds:
                own.scheduler.kill()

        with pytest.raises(Unreachable, match="the dask scheduler is gone; what is done stays done"):
            run_jobs([Fake("fine"), Fake("long")], tmp_path / "runs", engine=used, tell=tell)
        used.close()
        own.close()
    found = run(tmp_path, Fake("fine"))
    assert found.reused == ["fine-0"]
