"""What a job is called, and how it is told to run."""

from __future__ import annotations

import re
from typing import Any, cast

from dominance.papers.jobs import Timing, Training


def test_what_is_chosen_is_typed_and_what_is_not_is_left_to_the_benchmark():
    job = Training(
        "census", "pub", seed=2, architecture="mmoe", tasks=("income", "weeks"), settings={"width": 32},
        options={"every": 10}, every=5, attribution="both", probe="noise",
    )  # fmt: skip
    assert job.arguments() == [
        "train", "census", "--method", "pub", "--seed", "2", "--architecture", "mmoe", "--tasks", "income,weeks",
        "--every", "5", "--attribution", "both", "--probe", "noise", "--set", "width=32", "--option", "every=10",
    ]  # fmt: skip
    assert Training("digits", "uw").arguments() == ["train", "digits", "--method", "uw", "--seed", "0"]


def test_names_are_those_of_folders_and_differ_in_all_that_matters():
    jobs = [
        Training("digits", "uw"),
        Training("digits", "uw", seed=1),
        Training("digits", "uw", epochs=1),
        Training("digits", "uw", options={"lr": 0.1}),
        Training("digits", "uw", architecture="mmoe"),
        Training("digits", "uw", tasks=("left", "right")),
        Timing("digits", ("equal-weight", "pub:every=10")),
        Timing("digits", ("equal-weight", "pub:every=10"), batch_size=8),
    ]
    names = [cast(Any, job).name for job in jobs]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in names)
    again = Training("digits", "uw", seed=1)
    assert again == jobs[1]
    assert (again.name, hash(again)) == (jobs[1].name, hash(jobs[1]))


def test_a_timing_is_another_module_that_begins_anew():
    job = Timing("cityscapes", ("equal-weight", "mgda"), sample="32x64", laps=2, steps=1, settings={"width": 8})
    assert job.arguments() == [
        "cityscapes", "--method", "equal-weight", "--method", "mgda", "--sample", "32x64", "--laps", "2", "--steps",
        "1", "--set", "width=8",
    ]  # fmt: skip
    assert not job.can_resume
    assert job.module == "dominance.benchmarks.train.timing"
