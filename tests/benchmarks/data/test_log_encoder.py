"""Logs in pieces: the same as at once, and what the training rows do not have is one code."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.benchmarks.benchmark import Batch
from dominance.benchmarks.data.log_encoder import LogEncoder

torch.set_num_threads(1)


def split(frame: pd.DataFrame, train: list[int], size: int, least: int = 1) -> tuple[dict[str, Batch], list[int]]:
    gathered = LogEncoder(["word", "code"], ["x"], ["y"])
    for begin in range(0, len(frame), size):
        gathered.add(frame.iloc[begin : begin + size])
    others = [row for row in range(len(frame)) if row not in train]
    return gathered.split({"train": torch.tensor(train), "test": torch.tensor(others, dtype=torch.long)}, least)


def test_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "word": ["a", "b", "a", "", "c"],
            "code": [7, 7, -1, 3, 7],
            "x": [1.0, 5.0, 3.0, 9.0, 2.0],
            "y": [0, 1, 1, 0, 1],
        }
    )
    found, sizes = split(frame, [0, 1, 2], size=2)
    assert sizes == [3, 3]  # a, b and the rest; 7, -1 and the rest
    codes, values = found["train"].inputs
    assert codes.tolist() == [[1, 1], [2, 1], [1, 2]]
    assert values.squeeze(1).tolist() == pytest.approx([-(1.5**0.5), 1.5**0.5, 0])
    codes, values = found["test"].inputs
    assert codes.tolist() == [[0, 0], [0, 1]]
    assert values.squeeze(1).tolist() == pytest.approx([6 * 0.375**0.5, -(0.375**0.5)])
    assert found["test"].targets["y"].tolist() == [0, 1]
    _, sizes = split(frame, [0, 1, 2], size=2, least=2)
    assert sizes == [2, 2]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=2, max_size=20), st.integers(1, 7), st.data()
)
def test_pieces_do_not_matter(rows: list[tuple[int, int]], size: int, data: st.DataObject) -> None:
    frame = pd.DataFrame(
        {"word": [str(word) for word, _ in rows], "code": [code for _, code in rows], "x": np.arange(len(rows)), "y": 0}
    )
    train = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True))
    least = data.draw(st.integers(1, 3))
    one, two = split(frame, train, len(rows), least), split(frame, train, size, least)
    assert one[1] == two[1]
    for part in ("train", "test"):
        for left, right in zip(one[0][part].inputs, two[0][part].inputs, strict=True):
            assert torch.equal(left, right)
    codes = two[0]["train"].inputs[0][:, 1].tolist()
    values = [rows[row][1] for row in train]
    for code, value in zip(codes, values, strict=True):
        assert (code == 0) == (values.count(value) < least)
    assert len({(c, v) for c, v in zip(codes, values, strict=True) if c}) == len({c for c in codes if c})
