"""AliExpress from a made-up sample: it can be learnt, is read as it is meant, and bad rows are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dominance.benchmarks.problems.aliexpress import COLUMNS, AliExpress, read_log, write_sample
from dominance.errors import BadData, MissingData

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("aliexpress"), rows=1000)


def test_the_sample_has_the_format(sample: Path) -> None:
    frame = pd.read_csv(sample / "train.csv")
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 1000
    assert len(pd.read_csv(sample / "test.csv")) == 250
    assert ((frame["conversion"] == 1) <= (frame["click"] == 1)).all()
    assert 0 < frame["conversion"].mean() < frame["click"].mean() < 0.5


def test_what_is_loaded(sample: Path) -> None:
    problem = AliExpress(data=str(sample), embedding=2, width=4)
    problem.load(0)
    assert {split: len(batch.targets["CTR"]) for split, batch in problem.splits.items()} == {
        "train": 900,
        "val": 100,
        "test": 250,
    }
    frame = pd.read_csv(sample / "test.csv")
    test = problem.splits["test"]
    assert test.targets["CTR"].tolist() == frame["click"].tolist()
    assert test.targets["CTCVR"].tolist() == frame["conversion"].tolist()
    codes, values = test.inputs
    assert codes.shape == (250, 16)
    assert np.corrcoef(values[:, 5].numpy(), frame["numerical_6"])[0, 1] == pytest.approx(1.0)
    # same category, same code, and the other way round
    assert (
        len(set(zip(codes[:, 3].tolist(), frame["categorical_4"].tolist(), strict=True)))
        == frame["categorical_4"].nunique()
    )


def test_rare_categories_count_as_one(sample: Path) -> None:
    problem = AliExpress(data=str(sample), least=10_000)
    problem.load(0)
    assert problem.sizes == [1] * 16
    assert problem.splits["train"].inputs[0].sum().item() == 0


def test_rows(sample: Path) -> None:
    problem = AliExpress(data=str(sample), rows=50)
    problem.load(0)
    assert {split: len(batch.targets["CTR"]) for split, batch in problem.splits.items()} == {
        "train": 45,
        "val": 5,
        "test": 50,
    }


def test_there_is_something_to_learn(sample: Path) -> None:
    problem = AliExpress(data=str(sample))
    problem.load(0)
    train = problem.splits["train"]
    values = train.inputs[1]
    odds = 1.2 * values[:, 0] - 0.8 * values[:, 1]
    for task, score in (("CTR", odds), ("CTCVR", odds + 1.5 * values[:, 2])):
        assert problem.score(task, score.unsqueeze(1), train.targets[task])["auc"] > 0.7


def test_losses(sample: Path) -> None:
    logits, labels = torch.tensor([[0.0], [2.0]]), torch.tensor([1.0, 0.0])
    expected = (np.log(2) + np.log(1 + np.exp(2))) / 2
    assert AliExpress().loss("CTR", logits, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("architecture", AliExpress.architectures)
def test_every_architecture(sample: Path, architecture: str) -> None:
    problem = AliExpress(data=str(sample), rows=20, embedding=2, width=4)
    problem.load(0)
    outputs = problem.outputs(problem.model(architecture, ("CTR", "CTCVR")), next(problem.batches("train", 5)))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {"CTR": (5, 1), "CTCVR": (5, 1)}


@pytest.mark.parametrize(
    ("row", "values", "message"),
    [
        (4, {"click": 0, "conversion": 1}, "row 6: conversion without click"),
        (0, {"click": 2}, "row 2: click is neither 0 nor 1"),
        (9, {"numerical_7": "eval(1)"}, r"row 11: numerical_7 is 'eval\(1\)', no number"),
        (3, {"categorical_2": 1.5}, r"row 5: categorical_2 is 1\.5, no whole number"),
    ],
)
def test_bad_rows(sample: Path, tmp_path: Path, row: int, values: dict[str, object], message: str) -> None:
    frame: Any = pd.read_csv(sample / "train.csv").astype(object)
    for column, value in values.items():
        frame.loc[row, column] = value
    frame.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(BadData, match=message):
        list(read_log(tmp_path / "train.csv"))


def test_a_column_is_missing(sample: Path, tmp_path: Path) -> None:
    pd.read_csv(sample / "train.csv").drop(columns="numerical_63").to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(BadData, match="no column numerical_63"):
        list(read_log(tmp_path / "train.csv"))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"data=PATH.*write_sample"):
        AliExpress().load(0)
    with pytest.raises(MissingData, match=r"train\.csv is no file"):
        AliExpress(data=str(tmp_path)).load(0)
