from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, Matrix, matrices
from optim.properties import assert_equivariant, assert_scale_free

from dominance.optim import MGDA, SDMGrad

TASKS = tuple("abcdefghijkl")


def weights(gram: Matrix, lam: float = 0.3) -> Matrix:
    return SDMGrad(lam).weights(gram, np.ones(len(gram)), TASKS[: len(gram)])


def test_two_tasks_by_hand() -> None:
    """(3, 0) and (0, 1), λ = 1: the shortest of (3w, 1 - w) + (1.5, 0.5) has w = 0, where the slope is 12 > 0."""
    np.testing.assert_allclose(weights(np.diag([9.0, 1.0]), 1.0), [0.25, 0.75])


def test_lambda_zero_is_mgda_and_large_is_the_mean() -> None:
    for _, g in matrices(30, kinds=INDEPENDENT):
        gram, losses = g @ g.T, np.ones(len(g))
        np.testing.assert_allclose(weights(gram, 0.0), MGDA().weights(gram, losses, TASKS[: len(g)]), atol=1e-12)
        np.testing.assert_allclose(weights(gram, 1e9), np.full(len(g), 1 / len(g)), atol=1e-8)


def test_no_other_weights_make_it_shorter() -> None:
    """The conditions of a minimum over the simplex: the slope is least, and the same, wherever w_k > 0."""
    for _, g in matrices(200, seed=1):
        gram, k, lam = g @ g.T, len(g), 0.3
        w = (1 + lam) * weights(gram, lam) - lam / k
        assert w.min() >= -1e-12
        assert w.sum() == pytest.approx(1)
        slope = gram @ (w + lam / k)
        size = np.diagonal(gram).max()
        assert (slope >= w @ slope - 1e-8 * size).all()


def test_order_and_scale() -> None:
    rng = np.random.default_rng(0)
    for _, g in matrices(60, kinds=INDEPENDENT, seed=2):
        assert_equivariant(weights, g, rng.permutation(len(g)), 1e-7)
        assert_scale_free(weights, g, 1e-7)


def test_against_torchjd() -> None:
    """Their projected gradient descent comes to the same weights, on one batch, when it takes many small steps."""
    torchjd = pytest.importorskip("torchjd.aggregation")
    for _, g in matrices(10, kinds=("random", "agreeing"), sizes=range(2, 5), seed=3):
        gram = g @ g.T
        theirs = torchjd.SDMGradWeighting(lr=0.05, momentum=0.5, n_iter=3000, lambda_=0.3)
        np.testing.assert_allclose(weights(gram), theirs(torch.from_numpy(gram)), atol=1e-4)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        SDMGrad(-0.1)
