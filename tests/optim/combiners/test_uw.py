from __future__ import annotations

import math

import pytest
import torch
from optim.problems import TASKS, Problem, flat_grad

from dominance.optim import UW
from dominance.optim.engine.gradients import task_gradients

torch.set_num_threads(1)
F64 = torch.float64


def test_the_two_likelihoods_by_hand() -> None:
    uw = UW(["a", "b"], likelihood={"a": "regression", "b": "classification"}, initial=math.log(4))  # sigma = 2
    w = torch.tensor([1.0], requires_grad=True)
    losses = {"a": 8 * w.sum(), "b": 12 * w.sum()}
    # 8 / (2 * 4) + log 2 + 12 / 4 + log 2
    assert float(uw.total(losses).detach()) == pytest.approx(1 + 3 + 2 * math.log(2))
    uw.backward(losses, [w])
    assert w.grad is not None
    assert w.grad.item() == pytest.approx(1 + 3)
    # d/ds: 1/2 - c exp(-s) L
    assert [s.grad.item() for s in uw.parameters() if s.grad is not None] == pytest.approx([0.5 - 1, 0.5 - 3])


def test_the_same_as_torchjd_over_ten_steps() -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    ours, plain = Problem(dtype=F64), Problem(dtype=F64)
    uw, peer = UW(TASKS), scalarization.UW(3).double()
    one = torch.optim.SGD([*ours.parameters, *uw.parameters()], lr=0.01)
    two = torch.optim.SGD([*plain.parameters, *peer.parameters()], lr=0.01)
    for _ in range(10):
        one.zero_grad()
        two.zero_grad()
        uw.backward(ours.losses(), ours.parameters)
        peer(torch.stack([loss for loss in plain.losses().values() if loss is not None])).backward()
        one.step()
        two.step()
    torch.testing.assert_close(
        torch.stack([s.detach() for s in uw.parameters()]).double(), peer.log_var.detach(), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(flat_grad(ours.parameters), flat_grad(plain.parameters), rtol=1e-5, atol=1e-6)


def test_the_variance_is_learnt_from_task_gradients_too() -> None:
    ours, plain = Problem(), Problem()
    one, two = UW(TASKS, initial=0.3), UW(TASKS, initial=0.3)
    one.backward(ours.losses(), ours.parameters)
    rows = two.combine(task_gradients(plain.losses(), plain.parameters))
    for p, g in zip(ours.parameters, rows.total(), strict=True):
        torch.testing.assert_close(p.grad, g)
    torch.testing.assert_close([s.grad for s in one.parameters()], [s.grad for s in two.parameters()])


def test_an_absent_task_is_not_moved() -> None:
    problem, uw = Problem(), UW(TASKS)
    optimizer = torch.optim.Adam(uw.parameters(), lr=0.1, weight_decay=0.1)
    for absent in ((), ("b",)):
        optimizer.zero_grad()
        uw.backward(problem.losses(absent), problem.parameters)
        before = {task: s.item() for task, s in uw.log_variances.items()}
        optimizer.step()
    moved = {task: s.item() != before[task] for task, s in uw.log_variances.items()}
    assert moved == {"a": True, "b": False, "c": True}


def test_load_keeps_the_parameters_that_the_optimizer_has() -> None:
    uw, other = UW(TASKS), UW(TASKS, initial=1.5)
    before = list(uw.parameters())
    uw.load_state_dict(other.state_dict())
    assert all(a is b for a, b in zip(before, uw.parameters(), strict=True))
    assert [s.item() for s in before] == [1.5] * 3
    with pytest.raises(ValueError, match="of the tasks"):
        uw.load_state_dict(UW(["x"]).state_dict())


def test_negative_losses_and_strangers() -> None:
    w = torch.tensor(-1.0, requires_grad=True)
    with pytest.raises(ValueError, match=r"zero or more .* a has -1"):
        UW(["a"]).backward({"a": w * 1}, [w])
    with pytest.raises(ValueError, match="made for b, not for a"):
        UW(["b"]).backward({"a": w * 1}, [w])
    with pytest.raises(ValueError, match="likelihood must say"):
        UW(["a", "b"], likelihood={"a": "regression"})
