"""Jobs on a SLURM cluster, through submitit: one job array, an element for each training."""

from __future__ import annotations

import difflib
import json
import math
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dominance.errors import BadOption
from dominance.jobs.engine import Running, carried
from dominance.jobs.job import Answer
from dominance.jobs.slurm_work import SlurmWork

OPTIONS = {
    "partition": "slurm_partition",
    "account": "slurm_account",
    "qos": "slurm_qos",
    "constraint": "slurm_constraint",
    "gres": "slurm_gres",
    "nodelist": "slurm_nodelist",
    "exclude": "slurm_exclude",
    "comment": "slurm_comment",
    "mem": "slurm_mem",
    "gpus": "gpus_per_node",
    "cpus": "cpus_per_task",
    "time": "timeout_min",
}
"""What can be typed, and what submitit calls it."""
TIME = 60
"""Minutes that a training gets where nobody says."""
ARRAY = 1000
"""Elements of one array: SLURM's MaxArraySize is 1001 unless a site sets it."""
_LOOK = 1.0
"""Seconds between two looks at the files that jobs leave; SLURM itself is asked far more seldom."""


class Slurm:
    """Elements of a job array. When the time of one is up it keeps a checkpoint, and is queued again.

    Args:
        options: as submitit has them; see ``read_options``.
        jobs: so many at the same time; None: as many as SLURM lets run.
        cluster: "slurm"; "local" runs them as processes of this machine, to try it out.

    Raises:
        BadOption: submitit is not installed, or there is no SLURM here.
    """

    def __init__(self, options: Mapping[str, Any], jobs: int | None, *, cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError:
            raise BadOption("--on slurm needs submitit", fix="pip install 'dominance[slurm]'") from None
        self._submitit, self._options, self._jobs, self._cluster = submitit, dict(options), jobs, cluster
        self.can_detach = cluster == "slurm"
        self._open: list[Running] = []
        self._cancelled: set[int] = set()
        self._lock, self._left = threading.Lock(), threading.Event()
        self._watcher: threading.Thread | None = None
        self._executor: Any = None
        if cluster == "slurm" and submitit.SlurmExecutor.affinity() <= 0:
            raise BadOption("there is no SLURM here: srun is not found", fix="run it on a login node of the cluster")

    @property
    def workers(self) -> int:
        """So many may run at the same time."""
        return self._jobs or ARRAY

    @property
    def at_once(self) -> int:
        """An array full; where jobs are processes of this machine as many as may run."""
        return ARRAY if self._cluster == "slurm" else self._jobs or 1

    def check(self, folder: Path, versions: Mapping[str, str] | None) -> None:
        """Make the folder of submitit's own files. Workers compare versions themselves: there are none yet to ask."""
        where = folder / ".submitit"
        where.mkdir(exist_ok=True)
        self._executor = self._submitit.AutoExecutor(where, cluster=self._cluster)
        own = {} if self._cluster != "slurm" else {"slurm_array_parallelism": self._jobs or ARRAY}
        self._executor.update_parameters(**{"name": "dominance", "timeout_min": TIME, **own, **self._options})

    def start(self, some: Sequence[Running]) -> None:
        """Attach to those that SLURM has already, and submit the others."""
        new = [each for each in some if not self._attached(each)]
        for first in range(0, len(new), ARRAY):
            part = new[first : first + ARRAY]
            with self._executor.batch():
                for each in part:
                    told = replace(each.told, environment=carried())
                    each.handle = self._executor.submit(SlurmWork(), told.to_json())
            for each in part:
                note = {"id": each.handle.job_id, "folder": str(self._executor.folder)}
                self._note(each).write_text(json.dumps(note) + "\n", encoding="utf-8")
        with self._lock:
            self._open += some
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, daemon=True, name="dominance-slurm")
            self._watcher.start()

    def interrupt(self, some: Sequence[Running]) -> None:
        """By scancel, which gives them some seconds to keep a checkpoint."""
        for each in some:
            if each.handle is not None:
                self._cancelled.add(id(each))
                each.handle.cancel(check=False)

    def lost(self) -> str:
        """Never: what SLURM has been given it keeps."""
        return ""

    def close(self, *, detach: bool = False) -> None:
        """Look no more."""
        self._left.set()
        if self._watcher is not None:
            self._watcher.join()

    def _attached(self, each: Running) -> bool:
        """Whether SLURM has this job from an earlier call."""
        if self._cluster != "slurm" or not self._note(each).exists():
            return False
        note = json.loads(self._note(each).read_text(encoding="utf-8"))
        job: Any = self._submitit.SlurmJob(note["folder"], note["id"])
        if job.watcher.is_done(job.job_id, mode="force") or job.paths.result_pickle.exists():
            return False
        each.handle = job
        return True

    def _watch(self) -> None:
        while not self._left.wait(_LOOK):
            with self._lock:
                ended = [each for each in self._open if each.handle.done()]
                self._open = [each for each in self._open if each not in ended]
            for each in ended:
                self._note(each).unlink(missing_ok=True)
                each.ended(self._answer(each))

    def _note(self, each: Running) -> Path:
        """Where it is kept which job of SLURM this one is."""
        return Path(self._executor.folder) / f"{each.job.name}.json"

    def _answer(self, each: Running) -> Answer:
        if id(each) in self._cancelled:
            return Answer("killed", "cancelled")
        try:
            return Answer.from_json(each.handle.result())
        except self._submitit.core.utils.FailedJobError as error:
            return Answer("failed", _last_line(str(error.args[0]).partition("You can check")[0]))
        except self._submitit.core.utils.UncompletedJobError:
            seconds = time.monotonic() - each.began
            return Answer("killed", f"SLURM ended it: {each.handle.state.lower()}", seconds)


def read_options(text: str) -> dict[str, Any]:
    """What stands after ``slurm:`` -> parameters of submitit.

    Raises:
        BadOption: an option is unknown, or has no value that can be used.

    >>> read_options("partition=gpu,gpus=1,time=2:30:00")
    {'slurm_partition': 'gpu', 'gpus_per_node': 1, 'timeout_min': 150}
    """
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name not in OPTIONS:
            close = difflib.get_close_matches(name, OPTIONS, n=1)
            fix = f"did you mean {close[0]}?" if close else f"choose from {', '.join(OPTIONS)}"
            raise BadOption(f"--on slurm has no option {name!r}", fix=fix)
        if not equals or not value:
            raise BadOption(f"--on slurm: {name} has no value", fix=f"write it like slurm:{name}=...")
        found[OPTIONS[name]] = value if OPTIONS[name].startswith("slurm_") else _number(name, value)
    return found


def _number(name: str, value: str) -> int:
    if name == "time":
        return _minutes(value)
    if not value.isdecimal() or int(value) < (1 if name == "cpus" else 0):
        raise BadOption(f"--on slurm: {name}={value} is no number", fix=f"write it like slurm:{name}=1")
    return int(value)


def _minutes(text: str) -> int:
    """As sbatch reads --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(map(re.compile(r"\d+").fullmatch, [*parts, *([days] if "-" in text else [])])) or len(parts) > 3:
        raise BadOption(f"--on slurm: time={text} is no time", fix="write minutes, like time=60, or time=1-12:00:00")
    numbers = [int(part) for part in parts]
    if "-" in text:
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    else:
        hours, minutes, seconds = {1: [0, *numbers, 0], 2: [0, *numbers], 3: numbers}[len(numbers)]
    found = 1440 * int(days or 0) + 60 * hours + minutes + math.ceil(seconds / 60)
    if not found:
        raise BadOption(f"--on slurm: time={text} is no time at all", fix="write minutes, like time=60")
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    return lines[-1] if lines else "failed"
