"""How long the jobs of the papers' figures and tables take: from what steps took, measured one method after another.

Processor time of one core of an x86 server, one thread a training: another one takes as many times as long as it is
slower. What is not known is not guessed: the papers' own data, whose pictures and logs take longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dominance.papers.jobs import Job, Training


@dataclass(frozen=True)
class StepTime:
    """Milliseconds of a step of a training.

    Attributes:
        joint: with one backward pass, of the sum of the losses.
        each: with a backward pass for each task.
    """

    joint: float
    each: float


STEPS = {
    ("adatask-synthetic", ""): StepTime(6.4, 9.0),
    ("toy-2d", ""): StepTime(1.0, 1.1),
    ("digits", ""): StepTime(6.8, 13.2),
    ("digits", "cross-stitch"): StepTime(12.0, 19.0),
    ("digits", "mmoe"): StepTime(40.0, 64.0),
    ("digits", "cgc"): StepTime(45.0, 74.0),
    ("census", ""): StepTime(7.2, 14.5),
    ("census", "mmoe"): StepTime(15.8, 36.0),
    ("census", "ple"): StepTime(35.0, 80.0),
    ("movielens", ""): StepTime(5.0, 9.5),
    ("movielens", "mmoe"): StepTime(9.6, 20.0),
    ("qm9", ""): StepTime(60.0, 114.0),
}
"""(benchmark, architecture, "" for shared layers), with all tasks of the benchmark and batches as in ``BATCH``."""
BATCH = {"adatask-synthetic": 256, "toy-2d": 1, "digits": 64, "census": 1024, "movielens": 256, "qm9": 256}
SAMPLES = {"digits": 3000, "census": 199_523, "movielens": 17_600, "qm9": 130_831}
"""Of an epoch: pictures, rows, ratings of the most frequent genre, molecules."""
LOAD = {"census": 2.8, "qm9": 6.5}
"""Seconds until the data is there."""
START, TIMING = 2.0, 90.0
"""Seconds of whatever is trained, and of a timing."""
EPOCHS = {"adatask-synthetic": 30, "digits": 30, "census": 6, "movielens": 10, "qm9": 10, "toy-2d": 350}
TASKS = {"digits": 3, "census": 3, "movielens": 9, "qm9": 11}
_JOINT = {"equal-weight", "grid-search", "uw", "rlw", "dwa", "si", "gradnorm", "famo", "bandit-mtl"}
_RECORDED, _FIRST = 0.1, 60
"""Of the steps, where a job does not say: one in ten, and more of the first."""


def steps(job: Training) -> int | None:
    """Steps of a training; of single-task learning those of all tasks. None: not known."""
    settings = {key: str(value) for key, value in job.settings.items()}
    if "data" in settings or job.benchmark not in BATCH:
        return None
    batch = job.batch_size or BATCH[job.benchmark]
    if job.benchmark not in SAMPLES:
        an_epoch = int(settings.get("steps", 100))
    else:
        samples = SAMPLES[job.benchmark]
        for name in ("pairs", "samples", "molecules"):
            samples = min(samples, int(settings.get(name, samples)))
        an_epoch = math.ceil(samples * (110 / 130 if job.benchmark == "qm9" else 1) / batch)
    alone = (len(job.tasks) or TASKS.get(job.benchmark, 2)) if job.method == "stl" else 1
    return an_epoch * (job.epochs or EPOCHS[job.benchmark]) * alone


def seconds(job: Job) -> float | None:
    """Of one core; None: not known."""
    if not isinstance(job, Training):
        return None if "data" in getattr(job, "settings", {}) else TIMING
    count = steps(job)
    kind = (job.architecture or "").partition(":")[0]
    step = STEPS.get((job.benchmark, "" if kind == "hps" else kind))
    if count is None or step is None:
        return None
    larger = (job.batch_size or BATCH[job.benchmark]) / BATCH[job.benchmark]
    recorded = count / job.every if job.every else min(count, _RECORDED * count + _FIRST)
    one, each = (step.joint if job.method in _JOINT else step.each), step.each
    if job.method == "stl":
        one = each = step.joint / 2
    return START + LOAD.get(job.benchmark, 0.0) + larger * (count * one + recorded * 2 * each) / 1e3


def together(jobs: Iterable[Job]) -> tuple[float, int]:
    """Seconds of one core that these take, and of how many it is not known."""
    each = [seconds(job) for job in jobs]
    return sum(one for one in each if one is not None), sum(one is None for one in each)
