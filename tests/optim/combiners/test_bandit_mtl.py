from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import BanditMTL
from dominance.optim.combiners.bandit_mtl import project

torch.set_num_threads(1)
F64 = torch.float64


def test_two_steps_by_hand() -> None:
    """rho > log 2 does not bind, so p is softmax of eta times the sum of the losses so far."""
    bandit = BanditMTL()
    assert bandit.loss_weights(np.array([1.0, 3.0]), ("a", "b")).tolist() == [0.5, 0.5]
    q = np.exp([0.5, 1.5])
    np.testing.assert_allclose(bandit.loss_weights(np.array([2.0, 0.0]), ("a", "b")), q / q.sum())
    q = np.exp([1.5, 1.5])
    np.testing.assert_allclose(bandit.loss_weights(np.array([0.0, 0.0]), ("a", "b")), q / q.sum())


def test_the_weights_stay_within_rho() -> None:
    rng = np.random.default_rng(0)
    for k in (2, 3, 8):
        for rho in (1e-4, 0.1, 1.2):
            scores = rng.standard_normal(k) * 10 ** rng.uniform(-1, 3)
            p = np.exp(project(scores, rho))
            assert p.sum() == pytest.approx(1)
            divergence = float(np.sum(p * np.log(np.maximum(p, 1e-300) * k)))
            free = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
            unbound = float(np.sum(free * np.log(np.maximum(free, 1e-300) * k)))
            assert divergence == pytest.approx(min(rho, unbound), rel=1e-6, abs=1e-9)
            if unbound > rho:  # the form of the solution: log p is proportional to the scores, up to a constant
                slope = (np.log(p) - np.log(p[0]))[1:] / (scores - scores[0])[1:]
                np.testing.assert_allclose(slope, slope[0], rtol=1e-6)
                assert 0 <= slope[0] < 1


def test_the_projection_is_the_mirror_step() -> None:
    """No other weighting in the ball has a larger score minus divergence from where the free step leads."""
    rng = np.random.default_rng(1)
    scores, rho = np.array([0.0, 2.0, 5.0]), 0.3
    log_q = scores - np.logaddexp.reduce(scores)

    def value(p: np.ndarray) -> float:
        return float(-(p * (np.log(p) - log_q)).sum())

    best = np.exp(project(scores, rho))
    tried = 0
    for p in rng.dirichlet(np.ones(3), size=4000):
        if (p * np.log(p * 3)).sum() <= rho:
            tried += 1
            assert value(p) <= value(best) + 1e-9
    assert tried > 100


def test_the_gradient_is_that_of_the_weighted_sum() -> None:
    problem, bandit = Problem(dtype=F64), BanditMTL(rho=0.2)
    for _ in range(3):
        problem.net.zero_grad()
        bandit.backward(problem.losses(), problem.parameters)
    twin = BanditMTL(rho=0.2)
    losses = np.array([float(loss.detach()) for loss in problem.losses().values() if loss is not None])
    for _ in range(3):
        weights = twin.loss_weights(losses, "abc")
    assert weights.argmax() == losses.argmax()
    torch.testing.assert_close(flat_grad(problem.shared), torch.from_numpy(weights) @ problem.flat())


def test_an_absent_task_keeps_its_score_and_the_others_their_share() -> None:
    bandit = BanditMTL()
    bandit.loss_weights(np.array([1.0, 2.0, 3.0]), "abc")
    before = dict(bandit.scores)
    bandit.loss_weights(np.array([1.0, 2.0]), "ab")
    assert bandit.scores["c"] == before["c"]
    share = [math.exp(s["a"]) + math.exp(s["b"]) for s in (before, bandit.scores)]
    assert share[0] == pytest.approx(share[1])


def test_one_task_and_bad_values() -> None:
    bandit = BanditMTL()
    assert [bandit.loss_weights(np.array([loss]), "a").tolist() for loss in (5.0, -3.0)] == [[1.0], [1.0]]
    with pytest.raises(FloatingPointError, match="a has inf"):
        bandit.loss_weights(np.array([math.inf]), "a")
    with pytest.raises(ValueError, match="must be positive"):
        BanditMTL(rho=0)
