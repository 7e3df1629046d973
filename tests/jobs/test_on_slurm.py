"""Jobs through submitit: by its local executor, and by a SLURM that is a few lines of shell."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_jobs import Fake, began, quietly, run

from dominance.errors import BadOption
from dominance.jobs.engine import Running
from dominance.jobs.engines import engine
from dominance.jobs.on_slurm import Slurm, read_options
from dominance.jobs.run import JobResults, run_jobs

submitit = pytest.importorskip("submitit")
pytestmark = [pytest.mark.usefixtures("fake_module"), pytest.mark.filterwarnings("default")]

SBATCH = """#!/bin/bash
# A cluster of one node: it begins every element of an array at once.
file="${@: -1}"; cp "$file" "$FAKE/sbatch-$$.sh"
array=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$file")
for index in $(seq 0 ${array:-0}); do
  export SLURM_JOB_ID=$$ SLURM_PROCID=0
  [ -n "$array" ] && export SLURM_ARRAY_JOB_ID=$$ SLURM_ARRAY_TASK_ID=$index
  setsid bash "$FAKE/sbatch-$$.sh" > "$FAKE/$$-$index.out" 2>&1 < /dev/null &
  echo $! > "$FAKE/$$${array:+_$index}.pid"
done
echo "Submitted batch job $$"
"""
SRUN = """#!/bin/bash
while [ "${1:0:2}" = -- ]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
for file in "$FAKE"/*.pid; do
  kill -0 -- -$(cat "$file") 2>/dev/null && state=RUNNING || state=COMPLETED
  echo "$(basename "$file" .pid)|$state|node"
done
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What SLURM's programs are asked lies in this folder."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return folder


@pytest.fixture
def locally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return Slurm({}, 3, cluster="local")


def until(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert path.exists()


def test_the_local_executor_ends_as_this_machine_does(tmp_path, locally):
    jobs = [Fake("fine"), Fake("fail", fresh=True), Fake("once", fresh=True)]
    found = run(tmp_path, *jobs, engine=locally)
    locally.close()
    assert found.failed == {"fail-0": "dominance: error: the loss is nan"}
    assert found.killed == {"once-0": 1}
    assert (tmp_path / "runs/once-0/resumed").exists()
    assert set(run(tmp_path, jobs[0], jobs[2]).reused) == {"fine-0", "once-0"}


def test_ctrl_c_keeps_a_checkpoint(tmp_path, locally):
    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running:
            until(tmp_path / "runs/long-0/ready")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([Fake("long", fresh=True)], tmp_path / "runs", engine=locally, tell=tell)
    locally.close()
    assert (tmp_path / "runs/long-0/checkpoint.pt").exists()


def test_when_its_time_is_up_a_job_keeps_a_checkpoint_and_is_queued_again(tmp_path, locally):
    """As SLURM says it: by a signal. What runs then goes on from the checkpoint."""

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        for each in running:
            if (tmp_path / "runs/long-0/ready").exists() and not (tmp_path / "runs/long-0/checkpoint.pt").exists():
                controller = each.handle._process.pid
                (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
                os.kill(int(task), signal.SIGUSR2)
                until(tmp_path / "runs/long-0/checkpoint.pt")

    found = run_jobs([Fake("long", fresh=True)], tmp_path / "runs", engine=locally, tell=tell)
    locally.close()
    assert found.failed == {}
    assert (tmp_path / "runs/long-0/resumed").exists()


def test_a_job_file_says_what_was_asked_in_the_words_of_sbatch(tmp_path, slurm):
    asked = "partition=gpu,gpus=2,time=1-02:30:00,cpus=4,mem=8GB,account=lab,qos=high,constraint=a100,gres=disk:1"
    used = engine(f"slurm:{asked},nodelist=n[1-2],exclude=n2,comment=mine", 2)
    found = run(tmp_path, Fake("fine", fresh=True), Fake("die", fresh=True), Fake("fine", 1, fresh=True), engine=used)
    used.close()
    assert found.failed == {"die-0": "ended with 7"}
    (file,) = slurm.glob("sbatch-*.sh")
    said = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in file.read_text().splitlines()
        if line.startswith("#SBATCH")
    )
    of_files = {said.pop("output"), said.pop("error")}
    assert all(path.startswith(str(tmp_path / "runs/.submitit/%A_%a")) for path in of_files)
    assert said == {
        "job-name": "dominance", "partition": "gpu", "gpus-per-node": "2", "time": "1590", "cpus-per-task": "4",
        "mem": "8GB", "account": "lab", "qos": "high", "constraint": "a100", "gres": "disk:1",
        "nodelist": "'n[1-2]'", "exclude": "n2", "comment": "mine", "array": "0-2%2", "signal": "USR2@90",
        "open-mode": "append", "nodes": "1", "wckey": "submitit",
    }  # fmt: skip


def test_what_is_detached_goes_on_and_the_same_call_attaches(tmp_path, slurm):
    jobs = [Fake("wait", fresh=True), Fake("fine", fresh=True)]

    def tell(outcome: JobResults, running: Sequence[Running]) -> None:
        if running:
            until(tmp_path / "runs/wait-0/began")
            raise KeyboardInterrupt

    first = engine("slurm")
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, tmp_path / "runs", engine=first, tell=tell, detach=True)
    first.close(detach=True)
    until(tmp_path / "runs/fine-0.done")
    threading.Timer(1, (tmp_path / "runs/go").touch).start()
    second = engine("slurm")
    found = run_jobs(jobs, tmp_path / "runs", engine=second, tell=quietly)
    second.close()
    assert (found.failed, list(found.seconds), found.reused) == ({}, ["wait-0"], ["fine-0"])
    assert [began(tmp_path, job) for job in jobs] == [1, 1]
    assert len(list(slurm.glob("sbatch-*.sh"))) == 1  # nothing was submitted again


@pytest.mark.parametrize(
    ("text", "minutes"), [("60", 60), ("1:30", 2), ("2:00:00", 120), ("1-0", 1440), ("1-12", 2160), ("1-0:30", 1470)]
)
def test_times_are_read_as_sbatch_reads_them(text, minutes):
    assert read_options(f"time={text}") == {"timeout_min": minutes}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partion=x", "--on slurm has no option 'partion'; did you mean partition?"),
        ("zzz=1", "--on slurm has no option 'zzz'; choose from partition, account"),
        ("gpus", "--on slurm: gpus has no value; write it like slurm:gpus=..."),
        ("gpus=two", "--on slurm: gpus=two is no number; write it like slurm:gpus=1"),
        ("cpus=0", "--on slurm: cpus=0 is no number"),
        ("time=soon", "--on slurm: time=soon is no time; write minutes, like time=60, or time=1-12:00:00"),
        ("time=0", "--on slurm: time=0 is no time at all"),
    ],
)
def test_options_that_cannot_be_used(text, said):
    with pytest.raises(BadOption) as caught:
        engine(f"slurm:{text}")
    assert str(caught.value).startswith(said)


def test_no_slurm_and_no_submitit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadOption, match="there is no SLURM here: srun is not found; run it on a login node"):
        engine("slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BadOption, match=r"--on slurm needs submitit; pip install 'dominance\[slurm\]'"):
        engine("slurm")
