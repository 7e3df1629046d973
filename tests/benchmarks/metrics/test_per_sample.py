"""Metrics against scikit-learn and against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dominance.benchmarks.metrics.per_sample import accuracy, auc, mae, normalised_rmse, rmse, squared_error
from dominance.errors import BadOption

torch.set_num_threads(1)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(samples: list[tuple[int, bool]]) -> None:
    scores, labels = (torch.tensor(column) for column in zip(*samples, strict=True))
    if labels.all() or not labels.any():
        assert math.isnan(auc(scores.float(), labels.long()))
    else:
        expected = roc_auc_score(labels.numpy(), scores.numpy())
        assert auc(scores.float(), labels.long()) == pytest.approx(expected, abs=1e-12)


def test_auc_of_many_samples_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(100_000, generator=generator)
    labels = (torch.rand(100_000, generator=generator) < 0.02 + 0.1 * scores).long()
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels.numpy(), scores.numpy()), abs=1e-12)


def test_auc_by_hand() -> None:
    assert auc(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1, 0, 0])) == 1.0
    assert auc(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1, 0, 0])) == 0.0
    assert auc(torch.zeros(4), torch.tensor([1, 0, 0, 1])) == 0.5


def test_regression() -> None:
    output, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 5.0], [0.0, 1.0]])
    assert rmse(output, target) == pytest.approx(math.sqrt(10 / 4))
    assert mae(output, target) == pytest.approx(1.0)
    assert squared_error(output, target) == pytest.approx((9 + 1) / 2)


def test_accuracy() -> None:
    assert accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([1, 1, 1])) == pytest.approx(2 / 3)


def test_normalised_rmse() -> None:
    target = torch.tensor([1.0, 3.0, 5.0, 7.0])  # mean 4, variance 5, mean square 21
    output = target + torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert normalised_rmse(output, target) == pytest.approx(1 / math.sqrt(5))
    assert normalised_rmse(output, target, "rms") == pytest.approx(1 / math.sqrt(21))
    assert normalised_rmse(output, target, "none") == pytest.approx(1.0)
    assert normalised_rmse(torch.full_like(target, 4.0), target) == pytest.approx(1.0)
    assert normalised_rmse(torch.zeros_like(target), target, "rms") == pytest.approx(1.0)
    with pytest.raises(BadOption, match="normaliser='range'"):
        normalised_rmse(output, target, "range")
