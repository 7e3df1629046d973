"""Means that are written by hand are told from weighted sums."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dominance.record.tasks.means import is_mean

X = torch.randn(16, 3, requires_grad=True)


@pytest.mark.parametrize(
    "mean",
    [
        X.sum() / 16,
        X.square().sum() / len(X),
        X.sum() / torch.tensor(16.0),
        X.sum() / X.numel(),
        X.sum() * (1 / 48),
        torch.sum(X.abs()).div(16),
        F.mse_loss(X, torch.zeros(16, 3), reduction="sum") / 16,
    ],
)
def test_a_sum_over_as_many_as_were_summed(mean: Tensor) -> None:
    assert is_mean((mean.grad_fn, 0))


@pytest.mark.parametrize(
    "other",
    [
        X.sum() / 7,
        X.mean() / 16,
        X.sum() * 16,
        X.sum() / X.detach().sum(),
        X.sum(1) / 16,
        X.sum() + 16,
        X[0, 0] / 1,
        X.sum() / X.max(),
        F.mse_loss(X, torch.zeros(16, 3)) / 16,
        F.smooth_l1_loss(X, torch.zeros(16, 3)) / 48,
    ],
)
def test_what_is_none(other: Tensor) -> None:
    assert not is_mean((other.grad_fn, 0))
