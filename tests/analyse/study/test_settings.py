"""What is a setting, and what tells runs apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominance.analyse.study.settings import (
    arguments,
    differing,
    found_by_itself,
    seed_of,
    settings_of,
    telling,
)

TRAINING = {
    "training": {
        "benchmark": "digits",
        "method": "uw",
        "lr": 0.01,
        "seed": 3,
        "tasks": None,
        "device": "cpu",
        "optimizer": None,
        "milestones": [0.5, 0.75],
        "settings": {"overlays": "100", "lr": "2"},
        "options": {},
    },
    "argv": ["never", "looked", "at"],
}


def test_a_training_of_ours_says_its_options() -> None:
    expected = {
        "benchmark": "digits",
        "method": "uw",
        "lr": 0.01,
        "milestones": "0.5,0.75",
        "overlays": 100,
        "settings.lr": 2,
    }
    assert settings_of(TRAINING) == expected
    assert seed_of(TRAINING) == 3


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--lr", "0.1", "--lr", "0.2"], {"lr": 0.2}),
        (["-n", "-3", "-.5"], {"n": -3, "argument 1": -0.5}),
        (["--a", "--b", "c"], {"a": True, "b": "c"}),
        (["--a=", "--", "x=y=z"], {"a": "", "argument 1": "--", "x": "y=z"}),
        (
            ["+model.depth=3", "~x=1", "a-b=c"],
            {"model.depth": 3, "x": 1, "a-b=c".partition("=")[0].replace("-", "_"): "c"},
        ),
        (["s3://b/x=y", "-"], {"argument 1": "s3://b/x=y", "argument 2": "-"}),
        (["-m", "lr=0.1,0.2", "--multirun"], {"m": True, "lr": "0.1,0.2", "multirun": True}),
        (["--x", "nan", "--y", "TRUE"], {"x": "nan", "y": True}),
        ([], {}),
    ],
)
def test_arguments_of_a_script(argv: list[str], expected: dict[str, object]) -> None:
    found = arguments(argv)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@given(st.lists(st.text(max_size=6), max_size=6))
def test_any_arguments_are_read(argv: list[str]) -> None:
    assert len(arguments(argv)) <= len(argv)


def test_of_a_script_its_method_arguments_and_sweep_count_and_no_outputs_and_seeds() -> None:
    attrs = {
        "argv": ["-m", "package.train", "--lr", "1", "--seed", "7", "--output-dir", "x"],
        "method": "weights",
        "method_options": ["a=1", "b=2"],
        "seed": 99,
        "sweeps": [{"by": "hydra", "parameters": {"lr": "2", "seed": 8}}, {"by": "slurm", "trial": 3}],
    }
    assert settings_of(attrs) == {"method": "weights:a=1:b=2", "script": "package.train", "lr": 2}
    assert seed_of(attrs) == 8
    assert seed_of({**attrs, "sweeps": []}) == 7
    assert seed_of({"seed": 99}) == 99
    assert seed_of({"seed": 2**40}) is None  # drawn by torch itself
    assert seed_of({"seed": 99, "seed_run": 2}, moved=True) == 2
    assert seed_of({}) is None


def test_truth_is_no_number_and_a_missing_one_differs() -> None:
    assert differing([{"x": True, "y": 1}, {"x": 1, "y": 1.0}, {"x": 1, "y": 1}]) == ["x"]
    assert differing([{"x": 1}, {}]) == ["x"]
    assert differing([]) == []


def test_what_the_recorder_saw_counts_only_where_nothing_else_tells() -> None:
    by_itself = [
        found_by_itself(
            {
                "tasks": ["a", "b"],
                "optimizers": [{"class": "SGD", "groups": [{"lr": lr, "momentum": 0}]}],
                "model_number": number,
            }
        )
        for lr, number in ((0.1, 1), (0.2, 2), (0.2, 3))
    ]
    assert by_itself[0] == {"tasks": "a, b", "optimizer": "SGD", "lr": 0.1, "momentum": 0, "model": 1}
    assert telling([{}] * 3, [0] * 3, by_itself) == ["lr", "model"]
    assert telling([{}] * 3, [0, 1, 2], by_itself) == []
    assert telling([{"k": 1}, {"k": 2}, {"k": 1}], [0] * 3, by_itself) == ["lr"]
