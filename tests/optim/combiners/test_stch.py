from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import STCH

F64 = torch.float64


@pytest.mark.parametrize("mu", [0.01, 0.5, 3.0])
def test_against_torchjd(mu: float) -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    rng = np.random.default_rng(0)
    for _ in range(20):
        losses, preference, ideal = rng.exponential(size=3) * [1, 100, 0.1], rng.dirichlet(np.ones(3)), rng.random(3)
        values = torch.from_numpy(losses).requires_grad_()
        theirs = scalarization.STCH(mu, torch.from_numpy(preference), torch.from_numpy(ideal))
        (expected,) = torch.autograd.grad(theirs(values), values)
        named = [dict(zip("abc", each.tolist(), strict=True)) for each in (preference, ideal)]
        ours = STCH(mu, preference=named[0], ideal=named[1])
        np.testing.assert_allclose(ours.loss_weights(losses, "abc"), expected, rtol=1e-9, atol=1e-300)


def test_the_gradient_is_that_of_the_scalar() -> None:
    problem, stch = Problem(dtype=F64), STCH(0.2)
    stch.backward(problem.losses(), problem.parameters)
    found = flat_grad(problem.parameters)
    problem.net.zero_grad()
    losses = torch.stack([loss for loss in problem.losses().values() if loss is not None])
    (0.2 * torch.logsumexp(losses / 3 / 0.2, dim=0)).backward()
    torch.testing.assert_close(found, flat_grad(problem.parameters))


def test_a_small_mu_trains_the_worst_alone() -> None:
    assert STCH(1e-3).loss_weights(np.array([1.0, 2.0]), "ab") == pytest.approx([0, 0.5])
    assert STCH(1e9).loss_weights(np.array([1.0, 2.0]), "ab") == pytest.approx([0.25, 0.25])


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="mu is 0"):
        STCH(0)
    with pytest.raises(ValueError, match="all must be positive"):
        STCH(preference={"a": 0.0})
    with pytest.raises(ValueError, match="no preference for b"):
        STCH(preference={"a": 1.0}).loss_weights(np.ones(2), "ab")
    with pytest.raises(FloatingPointError, match="b has nan"):
        STCH().loss_weights(np.array([1.0, np.nan]), "ab")
