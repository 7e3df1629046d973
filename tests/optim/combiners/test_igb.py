from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import IGB, SI

torch.set_num_threads(1)
F64 = torch.float64


def test_until_the_base_is_known_it_is_si() -> None:
    igb, rng = IGB(), np.random.default_rng(0)
    for number in range(6):
        losses = rng.exponential(size=3) * [1.0, 100.0, 0.01]
        np.testing.assert_allclose(igb.loss_weights(losses, "abc"), SI().loss_weights(losses, "abc"), rtol=1e-15)
        if number == 2:
            igb.epoch()


def test_as_the_equation_by_autograd() -> None:
    """K softmax(L / B), held fixed, times log L; B the averages of the second epoch."""
    problem, igb = Problem(dtype=F64), IGB()
    seen: list[torch.Tensor] = []
    for number in range(9):
        problem.batch()
        losses = torch.stack([loss for loss in problem.losses().values() if loss is not None])
        base = torch.stack(seen[3:6]).mean(0) if number >= 6 else None
        share = torch.ones(3) if base is None else 3 * torch.softmax(losses.detach() / base, 0)
        seen.append(losses.detach())
        problem.net.zero_grad()
        (share * losses.log()).sum().backward()
        expected = flat_grad(problem.parameters)
        problem.net.zero_grad()
        igb.backward(problem.losses(), problem.parameters)
        torch.testing.assert_close(flat_grad(problem.parameters), expected)
        if number % 3 == 2:
            igb.epoch()
    assert igb.base == pytest.approx(dict(zip("abc", torch.stack(seen[3:6]).mean(0).tolist(), strict=True)))


def test_the_scale_of_a_loss_makes_no_difference() -> None:
    """Neither to L / B nor to the slope of log L: the weight takes the scale out."""
    one, other, scale = IGB(1), IGB(1), np.array([1.0, 1e4])
    for losses in (np.array([2.0, 3.0]), np.array([1.0, 2.5])):
        weights = one.loss_weights(losses, "ab")
        np.testing.assert_allclose(other.loss_weights(losses * scale, "ab") * scale, weights, rtol=1e-12)
        one.epoch()
        other.epoch()


def test_a_task_that_comes_late_has_its_base_from_its_own_first_epoch() -> None:
    igb = IGB(1)
    igb.loss_weights(np.array([4.0, 2.0]), "ab")
    igb.epoch()
    weights = igb.loss_weights(np.array([4.0, 2.0, 5.0]), "abc")
    assert weights.tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 5])  # gaps 1 and 1, and c on its own
    igb.epoch()
    assert igb.base == {"a": 4.0, "b": 2.0, "c": 5.0}
    half = igb.loss_weights(np.array([2.0, 2.0]), "ac")
    powers = np.exp([0.5, 0.4])
    assert half.tolist() == pytest.approx((2 * powers / powers.sum() / 2).tolist())


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="base_epoch is 0"):
        IGB(0)
    igb = IGB()
    with pytest.raises(ValueError, match=r"takes their logarithm\): b has 0"):
        igb.loss_weights(np.array([1.0, 0.0]), "ab")
    assert igb.sums == {}
