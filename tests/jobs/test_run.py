"""Jobs run in processes of their own, once, whoever asks for them, and go on where they were stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_jobs import Fake, began, run

from dominance.errors import BadOption
from dominance.jobs import versions as versions_module
from dominance.jobs.engine import Running
from dominance.jobs.engines import engine
from dominance.jobs.job import beside, request
from dominance.jobs.local import Local
from dominance.jobs.run import JobResults, run_jobs
from dominance.jobs.versions import versions
from dominance.jobs.warm import warm
from dominance.store.lock import FileLock

pytestmark = pytest.mark.usefixtures("fake_module")


def until(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists()


def test_what_is_done_is_not_done_again(tmp_path):
    first = run(tmp_path, Fake("fine"), Fake("fine", 1))
    assert list(first.seconds) == ["fine-0", "fine-1"]
    again = run(tmp_path, Fake("fine"), Fake("fine", 2))
    assert (again.reused, list(again.seconds), again.failed) == (["fine-0"], ["fine-2"], {})
    assert began(tmp_path, Fake("fine")) == 1
    mark = json.loads((tmp_path / "runs/fine-0.done").read_text())
    assert mark["command"][2:6] == ["fake_job", "fine", "--force", "-o"]
    assert mark["versions"] == versions()
    assert not list((tmp_path / "runs").glob("*.lock"))


@pytest.mark.parametrize("fresh", [False, True])
def test_a_failed_job_says_its_last_line_and_the_others_run(tmp_path, fresh):
    jobs = [Fake("fail", fresh=fresh), Fake("die", fresh=fresh), Fake("held", fresh=fresh), Fake("fine", fresh=fresh)]
    found = run(tmp_path, *jobs)
    failed = {"fail-0": "dominance: error: the loss is nan", "die-0": "ended with 7", "held-0": "ended with 75"}
    assert found.failed == failed
    assert set(found.seconds) == {"fail-0", "die-0", "held-0", "fine-0"}
    assert "a traceback" in (tmp_path / "runs/fail-0.log").read_text()
    assert (tmp_path / "runs/fine-0.done").exists()
    assert set(run(tmp_path, jobs[0], jobs[-1]).failed) == {"fail-0"}  # tried again


def test_as_many_run_at_the_same_time_as_there_are_workers(tmp_path):
    assert run(tmp_path, Fake("meet"), Fake("meet", 1), workers=2).failed == {}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_job_that_is_killed_is_gone_on_with_at_most_twice(tmp_path, fresh):
    found = run(tmp_path, Fake("once", fresh=fresh), Fake("kill", fresh=fresh), Fake("fine"))
    assert found.killed == {"once-0": 1, "kill-0": 3}
    assert found.failed == {"kill-0": "it was here"}
    assert (tmp_path / "runs/once-0/resumed").exists()
    assert began(tmp_path, Fake("kill")) == 3
    assert set(found.seconds) == {"once-0", "kill-0", "fine-0"}


@pytest.mark.parametrize("can_resume", [True, False])
def test_after_ctrl_c_the_processes_have_ended_and_the_same_call_goes_on(tmp_path, can_resume, fake_module):
    jobs = [Fake("long", number, can_resume) for number in (0, 1)]
    ready = [tmp_path / f"runs/long-{number}/ready" for number in (0, 1)]

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running:
            for path in ready:
                until(path)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "runs", engine=Local(2), tell=tell)
    assert warm().running() == 0
    for job in jobs:
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "runs" / job.name / "began").read_text()), 0)
    assert not list((tmp_path / "runs").glob("*.done"))
    if can_resume:
        assert run(tmp_path, *jobs).failed == {}
        assert (tmp_path / "runs/long-0/resumed").exists()
    else:
        fake_module.write_text("import sys; assert '--resume' not in sys.argv")
        assert run(tmp_path, *jobs).failed == {}


def test_ctrl_c_at_once_reaches_a_job_that_is_being_forked(tmp_path):
    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running:
            raise KeyboardInterrupt

    run(tmp_path, Fake("fine"))  # what is imported is imported
    for number in range(5):
        with pytest.raises(KeyboardInterrupt):
            run_jobs([Fake("long", number)], tmp_path / "runs", engine=Local(1), tell=tell)
    assert warm().running() == 0


def test_two_callers_at_once_run_no_job_twice(tmp_path):
    """The other caller has begun with the first job; ours goes on with the second, and waits for the first."""
    jobs = [Fake("wait"), Fake("fine"), Fake("fine", 1)]
    results: dict[str, JobResults] = {}
    other = threading.Thread(target=lambda: results.update(other=run(tmp_path, *jobs)))
    other.start()
    until(tmp_path / "runs/wait-0/began")
    assert (tmp_path / "runs/wait-0.lock").exists()
    threading.Timer(1.2, (tmp_path / "runs/go").touch).start()
    ours = run(tmp_path, *jobs)
    other.join()
    assert [began(tmp_path, job) for job in jobs] == [1, 1, 1]
    assert sorted([*ours.seconds, *ours.reused]) == ["fine-0", "fine-1", "wait-0"]
    assert set(ours.seconds) == {"fine-0", "fine-1"}
    assert ours.reused == ["wait-0"]
    assert set(results["other"].reused) == {"fine-0", "fine-1"}


def test_the_lock_of_a_caller_that_was_killed_is_free(tmp_path):
    """Its jobs die with it."""
    script = "import sys; from pathlib import Path; from fake_jobs import Fake, run\n"
    script += "run(Path(sys.argv[1]), Fake('long', fresh=True))"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    caller = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    until(tmp_path / "runs/long-0/ready")
    caller.kill()
    caller.wait()
    found = run(tmp_path, Fake("long", fresh=True))
    assert found.failed == {}
    assert (tmp_path / "runs/long-0/resumed").exists()


def test_a_helper_that_is_killed_takes_no_job_with_it(tmp_path):
    def kill() -> None:
        until(tmp_path / "runs/once-0/began")
        os.kill(warm()._process.pid, signal.SIGKILL)

    (tmp_path / "runs").mkdir()
    killer = threading.Thread(target=kill)
    killer.start()
    threading.Timer(3, (tmp_path / "runs/go").touch).start()
    found = run(tmp_path, Fake("once"), Fake("wait"), Fake("fine"))
    killer.join()
    assert found.failed == {}
    assert all((tmp_path / f"runs/{name}.done").exists() for name in ("once-0", "wait-0", "fine-0"))


def test_a_log_that_finds_no_room_fails_its_job_alone(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/fail-0.log").symlink_to("/dev/full")
    found = run(tmp_path, Fake("fail"), Fake("fine"))
    assert set(found.failed) == {"fail-0"}
    assert set(found.seconds) == {"fail-0", "fine-0"}


def test_what_another_version_has_made_is_named_and_refused(tmp_path, monkeypatch):
    run(tmp_path, Fake("fine"))
    mark = tmp_path / "runs/fine-0.done"
    said = json.loads(mark.read_text())
    mark.write_text(json.dumps({**said, "versions": {**said["versions"], "torch": "1.0"}}))
    with pytest.raises(BadOption, match=r"1 of the runs in .* were made with torch 1.0 instead of .*--mixed"):
        run(tmp_path, Fake("fine"), Fake("fine", 1))
    assert not (tmp_path / "runs/fine-1").exists()
    assert run(tmp_path, Fake("fine"), mixed=True).reused == ["fine-0"]
    mark.write_text("python -m fake_job fine\n")  # a mark that does not say
    assert run(tmp_path, Fake("fine")).reused == ["fine-0"]


def test_a_worker_of_another_version_refuses(tmp_path, monkeypatch):
    """As the worker sees it, which compares for itself: others may join later."""
    other = {**versions_module.versions(), "zarr": "9.9"}
    monkeypatch.setattr("dominance.jobs.run.versions", lambda: other)
    with pytest.raises(BadOption, match=r"has zarr [\d.]+ instead of 9.9"):
        run(tmp_path, Fake("fine"))
    assert not (tmp_path / "runs/fine-0").exists()


@pytest.mark.parametrize(
    ("on", "jobs", "said"),
    [
        ("slurmm", None, "--on 'slurmm' is unknown; give local, dask, dask=tcp://HOST:PORT or slurm"),
        ("", None, "--on '' is unknown"),
        ("dask=", None, "--on 'dask=' is unknown"),
        ("local", 0, "--jobs 0 does nothing; give 1 or more"),
    ],
)
def test_an_engine_that_there_is_not(on, jobs, said):
    with pytest.raises(BadOption) as caught:
        engine(on, jobs)
    assert str(caught.value).startswith(said)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BadOption, match=r"cannot be made or written \(.*\); choose another"):
        run(tmp_path, Fake("fine"))


def test_runs_are_not_put_into_a_run(tmp_path):
    (tmp_path / "runs/data.zarr").mkdir(parents=True)
    with pytest.raises(BadOption, match="is a run, and no folder for several"):
        run(tmp_path, Fake("fine"))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["data.zarr"]


def test_a_worker_that_has_no_such_folder_says_so(tmp_path, monkeypatch):
    """As on a machine where the caller's working folder is not."""
    monkeypatch.setattr("dominance.jobs.job.os.getcwd", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(BadOption, match=r"nowhere: No such file or directory; mend that there"):
        run(tmp_path, Fake("fine"))


def test_processes_of_this_machine_cannot_be_left(tmp_path):
    with pytest.raises(BadOption, match="leave --detach out"):
        run_jobs([Fake("fine")], tmp_path / "runs", engine=Local(1), detach=True)


def test_a_job_is_known_by_its_settings_its_place_and_the_versions(tmp_path):
    told = [
        request(job, folder, versions=None)
        for job, folder in [
            (Fake("a"), tmp_path),
            (Fake("b"), tmp_path),
            (Fake("a"), tmp_path / "x"),
            (Fake("a"), tmp_path),
        ]
    ]
    found = [each.digest(versions()) for each in told] + [told[0].digest({"torch": "1"})]
    assert found[0] == found[3]
    assert len(set(found)) == 4


def test_a_lock_is_one_holders(tmp_path):
    name = beside(tmp_path / "job", "lock")
    lock = FileLock(name)
    code = f"from pathlib import Path; from dominance.store.lock import FileLock; FileLock(Path({str(name)!r}))"
    held = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "RunExists" in held.stderr
    lock.release()
    assert not name.exists()
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
