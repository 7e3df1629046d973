"""Jobs that do next to nothing, in the ways that jobs have: well, badly, long, or meeting each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dominance.jobs.engine import Engine, Running
from dominance.jobs.local import Local
from dominance.jobs.run import JobResults, run_jobs

SCRIPT = """
import os, pathlib, signal, sys, time
*words, out = sys.argv[1:]
out = pathlib.Path(out)
if words[:2] == ["train", "--resume"]:
    (out / "resumed").touch()
    sys.exit(0)
kind = words[0]
out.mkdir(exist_ok=True)
with (out / "began").open("a") as file:
    file.write(f"{os.getpid()}\\n")
if kind == "fail":
    print("a traceback\\ndominance: error: the loss is nan", file=sys.stderr)
    sys.exit(1)
if kind == "die":
    sys.exit(7)
if kind == "held":  # an exit code that means something to some
    sys.exit(75)
if kind == "kill":
    print("it was here", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "once" and len((out / "began").read_text().split()) == 1:
    (out / "checkpoint.pt").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "long":
    def stop(number, frame):
        (out / "checkpoint.pt").touch()
        sys.exit(130)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    (out / "ready").touch()
    time.sleep(60)
if kind == "wait":  # until the test says so
    end = time.monotonic() + 30
    while not (out.parent / "go").exists() and time.monotonic() < end:
        time.sleep(0.01)
if kind == "meet":  # both must run at the same time
    end = time.monotonic() + 20
    while len(list(out.parent.glob("meet*/began"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    sys.exit(len(list(out.parent.glob("meet*/began"))) < 2)
"""


@dataclass(frozen=True)
class Fake:
    """A job of ``SCRIPT``, which ``fake_module`` puts where python finds it."""

    kind: str
    number: int = 0
    can_resume: bool = True
    fresh: bool = False
    module: str = "fake_job"

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    def command(self, folder: str) -> list[str]:
        return [self.kind, "--force", "-o", folder]


def quietly(outcome: JobResults, running: Sequence[Running]) -> None:
    """Tells nobody."""


def run(folder: Path, *jobs: Fake, workers: int = 1, engine: Engine | None = None, mixed: bool = False) -> JobResults:
    """The jobs, below ``folder``; by processes of this machine unless another engine is given."""
    return run_jobs(jobs, folder / "runs", engine=engine or Local(workers), tell=quietly, mixed=mixed)


def began(folder: Path, job: Fake) -> int:
    """How often the job was begun."""
    return len((folder / "runs" / job.name / "began").read_text().split())
