"""How long trainings take, against the trainings' own numbers of steps, and the time that scale long may take."""

from __future__ import annotations

from typing import Any

import pytest

from dominance.benchmarks.train.plan import TrainOptions, plan
from dominance.papers import scoreboard
from dominance.papers.catalogue import items
from dominance.papers.estimate import seconds, steps, together
from dominance.papers.item import SCALES, Wish
from dominance.papers.jobs import Job, Timing, Training
from dominance.papers.presets import PICTURES


@pytest.fixture(autouse=True)
def _with_qm9(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoreboard, "find_spec", lambda package: object())


def jobs(scale: Any) -> dict[str, Job]:
    return {job.name: job for item in items().values() for job in item.needs(Wish(scale))}


@pytest.mark.parametrize(
    "job",
    [
        Training("digits", "uw", **PICTURES.how("quick")),
        Training("adatask-synthetic", "uw", epochs=2, settings={"steps": 7}),
        Training("toy-2d", "uw", epochs=3, settings={"steps": 20}),
        Training("digits", "uw", epochs=1, batch_size=100, settings={"pairs": 950}),
    ],
    ids=lambda job: job.name,
)
def test_steps_are_those_that_the_benchmark_gives(job: Training) -> None:
    settings = {name: str(value) for name, value in job.settings.items()}
    planned = plan(TrainOptions(job.benchmark, job.method, settings=settings, batch_size=job.batch_size))
    planned.benchmark.load(0)
    batches = sum(1 for _ in planned.benchmark.batches("train", planned.batch_size))
    assert steps(job) == batches * (job.epochs or 0)


def test_single_task_learning_trains_each_task() -> None:
    one, three = (Training("digits", method, epochs=2, settings={"pairs": 640}) for method in ("uw", "stl"))
    assert (steps(one), steps(three)) == (20, 60)
    pair = Training("digits", "stl", tasks=("left", "right"), epochs=2, settings={"pairs": 640})
    assert steps(pair) == 40


def test_of_the_papers_own_data_it_is_not_known() -> None:
    known, unknown = Training("digits", "uw"), Training("nyuv2", "uw", settings={"data": "/x"})
    assert seconds(unknown) is seconds(Timing("cityscapes", ("uw",), settings={"data": "/x"})) is None
    assert together([known, unknown]) == (seconds(known), 1)


@pytest.mark.parametrize("scale", SCALES)
def test_of_what_stands_in_it_is(scale: Any) -> None:
    assert together(jobs(scale).values())[1] == 0


def test_scales_take_what_they_say_on_two_cores() -> None:
    """Quick: a few hours at the very most, each item within minutes; long: eight hours."""
    assert together(jobs("quick").values())[0] / 2 < 2 * 3600
    assert together(jobs("long").values())[0] / 2 < 8 * 3600


def test_long_trains_for_1100_steps_and_more_on_whole_data() -> None:
    for job in jobs("long").values():
        if isinstance(job, Training):
            alone = len(job.tasks) or {"digits": 3, "census": 3, "movielens": 9, "qm9": 11}.get(job.benchmark, 1)
            assert (steps(job) or 0) / (alone if job.method == "stl" else 1) >= 1_100, job.name
            assert not {"samples", "molecules"} & job.settings.keys()
