from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, Matrix, matrices
from optim.properties import assert_no_conflict

from dominance.errors import SolverFailed
from dominance.optim import FairGrad, NashMTL
from dominance.optim.solvers.fairness import solve_fair

TASKS = tuple("abcdefghijkl")


def weights(gram: Matrix, alpha: float = 2.0) -> Matrix:
    return FairGrad(alpha).weights(gram, np.ones(len(gram)), TASKS[: len(gram)])


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 10.0])
def test_equation(alpha: float) -> None:
    for _, g in matrices(150, kinds=INDEPENDENT):
        gram = g @ g.T
        w = weights(gram, alpha)
        assert w.min() > 0
        assert np.abs(w ** (1 / alpha) * (gram @ w) - 1).max() <= 1e-6
        assert_no_conflict(g, w)


def test_alpha_one_is_nash() -> None:
    for _, g in matrices(50, kinds=INDEPENDENT, seed=1):
        gram = g @ g.T
        nash = NashMTL(max_norm=None).weights(gram, np.ones(len(g)), TASKS[: len(g)])
        np.testing.assert_allclose(weights(gram, 1.0), nash, rtol=1e-6)


def test_orthogonal_gradients_have_a_closed_form() -> None:
    """w n² = w^(-1/2), so w = n^(-4/3)."""
    assert weights(np.diag([1.0, 64.0, 1e-6])) == pytest.approx([1, 64 ** (-2 / 3), 1e4])


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_against_a_root_finder(alpha: float) -> None:
    """scipy's root of the equation in the logarithms of the weights, started where it is not solved."""
    optimize = pytest.importorskip("scipy.optimize")
    for _, g in matrices(40, kinds=("random", "agreeing"), sizes=range(2, 8), seed=2):
        gram = g @ g.T
        found = optimize.root(lambda z, m=gram: z / alpha + np.log(m @ np.exp(z)), np.log(weights(gram, alpha)) + 0.01)
        np.testing.assert_allclose(weights(gram, alpha), np.exp(found.x), rtol=1e-6)


def test_against_torchjd() -> None:
    theirs = pytest.importorskip("torchjd.aggregation").FairGradWeighting(alpha=2.0, max_iters=2000)
    for _, g in matrices(25, kinds=("random", "agreeing"), sizes=range(2, 5), seed=3):
        gram = g @ g.T
        np.testing.assert_allclose(weights(gram), theirs(torch.from_numpy(gram)), rtol=1e-3)


def test_failure_keeps_the_weights_is_counted_and_said_once() -> None:
    method = FairGrad()
    good, bad = np.diag([1.0, 4.0]), np.array([[1.0, -1.0], [-1.0, 1.0]])
    before = method.weights(good, np.ones(2), ("a", "b"))
    with pytest.warns(RuntimeWarning, match=r"FairGrad: M w = .* \(Pareto stationary\)"):
        assert method.weights(bad, np.ones(2), ("a", "b")).tolist() == before.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.weights(bad, np.ones(2), ("a", "b"))
    assert method.failures == 2


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_opposite_gradients_have_no_solution(alpha: float) -> None:
    for _, g in matrices(20, kinds=("opposite",), sizes=range(2, 7), seed=4):
        with pytest.raises(SolverFailed, match="Pareto stationary"):
            solve_fair(g @ g.T, alpha)


def test_a_zero_gradient_keeps_its_weight() -> None:
    method = FairGrad(1.0)
    method.last = {"a": 1.0, "b": 5.0}
    assert method.weights(np.diag([4.0, 0.0]), np.ones(2), ("a", "b")) == pytest.approx([0.5, 5])
    assert method.failures == 0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="alpha is 0"):
        FairGrad(0)
