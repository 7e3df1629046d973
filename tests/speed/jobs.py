"""What running jobs costs, engine by engine: 40 short trainings, and 10,000 jobs of no length.

python tests/speed/jobs.py [--before CHECKOUT] [--trainings N] [--empty N]

With --before the runner of another checkout is timed beside ours, in turn: one whose cli/jobs.py holds ``run_jobs``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dominance.jobs.engine import Engine
from dominance.jobs.engines import engine
from dominance.jobs.run import JobResults, run_jobs
from dominance.papers.jobs import Training

WORKERS = 2
LIMIT = 1.10
OVERHEAD = 0.3

BEFORE = """
import json, sys, time
from pathlib import Path
from dominance.papers.jobs import Training
from dominance_cli.jobs import run_jobs
folder, workers, warm, seeds = Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:])
def jobs(first, number):
    told = {"epochs": 1, "settings": {"steps": 100}}
    return [Training("toy-2d", "equal-weight", seed=first + i, **told) for i in range(number)]
run_jobs(jobs(1000, warm), folder / "warm", workers=workers, tell=lambda *_: None)
began = time.perf_counter()
found = run_jobs(jobs(0, seeds), folder / "runs", workers=workers, tell=lambda *_: None)
print(json.dumps({"wall": time.perf_counter() - began, "failed": found.failed}))
"""


def trainings(first: int, number: int) -> list[Training]:
    """Of a second or less."""
    return [
        Training("toy-2d", "equal-weight", seed=first + i, epochs=1, settings={"steps": 100}) for i in range(number)
    ]


@dataclass(frozen=True)
class Nothing:
    """A job of no length."""

    number: int
    module: str = "no_length"
    can_resume: bool = False
    fresh: bool = False

    @property
    def name(self) -> str:
        return f"nothing-{self.number}"

    def command(self, folder: str) -> list[str]:
        return [folder]


@contextmanager
def used(on: str) -> Iterator[Engine]:
    made = engine(on, WORKERS)
    try:
        yield made
    finally:
        made.close()


def ours(on: str, number: int, folder: Path) -> float:
    """Seconds that the trainings take once the workers are warm."""
    with used(on) as made:
        run_jobs(trainings(1000, WORKERS), folder / "warm", engine=made)
        began = time.perf_counter()
        found = run_jobs(trainings(0, number), folder / "runs", engine=made)
        wall = time.perf_counter() - began
    assert not found.failed, found.failed
    return wall


def theirs(checkout: Path, number: int, folder: Path) -> float:
    """The same by the runner of another checkout."""
    path = os.pathsep.join([str(checkout), str(checkout / ".ci/typing")])
    done = subprocess.run(
        [sys.executable, "-c", BEFORE, str(folder), str(WORKERS), str(WORKERS), str(number)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout.splitlines()[-1])
    assert not said["failed"], said["failed"]
    return float(said["wall"])


def overhead(on: str, number: int, folder: Path, script: Path) -> float:
    """Seconds that a job of no length takes a warm worker, by itself."""
    sys.path.insert(0, str(script.parent))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(script.parent), os.environ.get("PYTHONPATH", "")])
    with used(on) as made:
        run_jobs([Nothing(-1 - i) for i in range(WORKERS * 4)], folder, engine=made)
        seconds = []
        for i in range(number):
            began = time.perf_counter()
            run_jobs([Nothing(i)], folder, engine=made)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def many(on: str, number: int, folder: Path) -> None:
    """Jobs of no length: run, and found again; how long a thousand takes, and what the caller's memory grows by."""
    jobs = [Nothing(i) for i in range(number)]
    sizes: list[int] = []

    def tell(outcome: JobResults, running: object) -> None:
        if len(outcome.seconds) >= number / 10:
            sizes.append(_memory())

    with used(on) as made:
        run_jobs([Nothing(-1 - i) for i in range(WORKERS)], folder, engine=made)
        began = time.perf_counter()
        found = run_jobs(jobs, folder, engine=made, tell=tell)
        run = time.perf_counter() - began
        began = time.perf_counter()
        again = run_jobs(jobs, folder, engine=made)
        again_in = time.perf_counter() - began
    assert len(found.seconds) == len(again.reused) == number, (found.failed, len(again.reused))
    thousand = 1000 / number
    print(f"{number:,} jobs of no length, {on}: {run * thousand:.1f} s a thousand to run,", end=" ")
    print(
        f"{again_in * thousand:.2f} s to find again; the caller's memory grew by {_mb(sizes[0], sizes[-1])} MB", end=" "
    )
    print(f"from the first tenth to the last, to {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _mb(before: int, after: int) -> int:
    return round((after - before) / 2**20)


def main() -> int:
    """Print each time; 1 when a limit is passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path)
    parser.add_argument("--trainings", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--empty", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "module" / "no_length.py"
        script.parent.mkdir()
        script.write_text("import os, sys\nos.makedirs(sys.argv[1], exist_ok=True)\n")
        walls: dict[str, list[float]] = {}
        for number in range(given.rounds):
            for on in ("local", "dask"):
                walls.setdefault(on, []).append(ours(on, given.trainings, folder / f"{on}-{number}"))
            if given.before is not None:
                before = theirs(given.before, given.trainings, folder / f"before-{number}")
                walls.setdefault("before", []).append(before)
        found = {what: min(each) for what, each in walls.items()}
        best = min(found.values())
        for what, wall in found.items():
            print(f"{given.trainings} trainings, {what:6} {wall:6.1f} s, {wall / best:.2f} of the best (limit {LIMIT})")
        each = {on: overhead(on, 20, folder / f"each-{on}", script) for on in ("local", "dask")}
        for on, seconds in each.items():
            print(f"a job of no length, {on:6} {seconds:.3f} s (limit {OVERHEAD})")
        for on in ("local", "dask") if given.empty else ():
            many(on, given.empty, folder / f"many-{on}")
    return int(any(wall > LIMIT * best for wall in found.values()) or any(s > OVERHEAD for s in each.values()))


if __name__ == "__main__":
    sys.exit(main())
