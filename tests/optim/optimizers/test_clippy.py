"""Clippy: its rule, torch's Adam where nothing is clipped, and what comes from outside."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from optim.problems import Problem

from dominance.optim import UW, Clippy, Combiner, NashMTL, PCGrad
from dominance.optim.optimizers.clippy import clipping

torch.set_num_threads(1)
F64 = torch.float64


def test_the_factor_by_hand() -> None:
    theta = torch.tensor([0.0, 2.0, -4.0], dtype=F64)
    # 0.5 * |theta| + 0.1 = 0.1, 1.1, 2.1
    assert clipping(torch.tensor([0.05, 0.5, 1.0], dtype=F64), theta, 0.5, 0.1).item() == 1.0
    assert clipping(torch.tensor([0.4, 0.5, 1.0], dtype=F64), theta, 0.5, 0.1).item() == pytest.approx(0.25)
    assert clipping(torch.tensor([0.1, -0.5, -8.4], dtype=F64), theta, 0.5, 0.1).item() == pytest.approx(0.25)
    assert clipping(torch.tensor([1.0, 0.0, 0.0], dtype=F64), theta, 0.5, 0.0).item() == 0.0
    assert clipping(torch.tensor([0.0, 1.0, 4.0], dtype=F64), theta, 0.5, 0.0).item() == pytest.approx(0.5)
    assert clipping(torch.zeros(0), torch.zeros(0), 0.5, 0.1).item() == 1.0


def test_no_entry_moves_further_than_allowed_and_one_in_each_tensor_that_far() -> None:
    generator = torch.Generator().manual_seed(0)
    ps = [torch.randn(s, generator=generator, dtype=F64).requires_grad_() for s in ((5, 4), (7,))]
    optimizer = Clippy(ps, lr=0.5, lambda_rel=0.3, lambda_abs=0.02)
    for _ in range(20):
        before = [p.detach().clone() for p in ps]
        for p in ps:
            p.grad = torch.randn(p.shape, generator=generator, dtype=F64)
        optimizer.step()
        for p, old in zip(ps, before, strict=True):
            used = ((p - old).abs() / (0.3 * old.abs() + 0.02)).max().item()
            assert used == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("decoupled", [False, True])
def test_is_adam_where_nothing_is_clipped(decoupled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(6, generator=generator, dtype=F64).requires_grad_()
    q = p.detach().clone().requires_grad_()
    make = torch.optim.AdamW if decoupled else torch.optim.Adam
    ours = Clippy([p], weight_decay=0.1, decoupled_weight_decay=decoupled, lambda_abs=1e3)
    theirs = make([q], weight_decay=0.1)
    for _ in range(50):
        p.grad = torch.randn(6, generator=generator, dtype=F64)
        q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


def test_sparse_gradients_are_refused_before_anything_moves() -> None:
    p, table = torch.ones(2, requires_grad=True), torch.nn.Embedding(3, 2, sparse=True)
    optimizer = Clippy([p, *table.parameters()])
    (p.sum() + table(torch.tensor([1])).sum()).backward()  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="sparse=False"):
        optimizer.step()
    assert p.tolist() == [1.0, 1.0]


def test_backward_takes_the_sum_of_the_losses_or_a_combiner() -> None:
    p = torch.tensor([1.0, 2.0], requires_grad=True)

    def losses() -> dict[str, torch.Tensor]:
        return {"a": p[0] ** 2 - p[1] + 9, "b": p[1] ** 2 - 4 * p[0] + 9}

    optimizer = Clippy([p])
    optimizer.backward(losses())
    assert p.grad is not None
    assert p.grad.tolist() == [-2.0, 3.0]
    optimizer.zero_grad()
    optimizer.backward(losses(), PCGrad())
    assert p.grad is not None
    assert p.grad.tolist() != [-2.0, 3.0]  # they conflict
    optimizer.zero_grad()
    learnt = UW(("a", "b"))
    both = Clippy([p, *learnt.parameters()])
    both.backward(losses(), learnt)
    both.step()


@pytest.mark.parametrize("make", [lambda: None, PCGrad, NashMTL])
def test_a_loss_scaler_makes_no_difference_and_skips_what_overflows(make: Callable[[], Combiner | None]) -> None:
    problem, other = Problem(dtype=F64), Problem(dtype=F64)
    optimizer, plain = Clippy(problem.parameters), Clippy(other.parameters)
    ours, theirs = make(), make()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        plain.zero_grad()
        losses = {task: None if loss is None else loss * factor for task, loss in problem.losses().items()}
        optimizer.backward(losses, ours, scaler=scaler)
        scaler.step(optimizer)
        scaler.update()
        if factor == 1.0:
            plain.backward(other.losses(), theirs)
            plain.step()
        problem.batch()
        other.batch()
    assert scaler.get_scale() == 2.0**9
    for p, q in zip(problem.parameters, other.parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=0)


def test_a_closure_is_called() -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = Clippy([p])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert p.max() < 1


def test_state_goes_on_to_the_bit() -> None:
    p = torch.ones(3, requires_grad=True)
    optimizer = Clippy([p], lr=0.1)
    p.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step()
    other = p.detach().clone().requires_grad_()
    resumed = Clippy([other])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for q, stepping in ((p, optimizer), (other, resumed)):
        q.grad = torch.tensor([-1.0, 0.5, 3.0])
        stepping.step()
    assert torch.equal(p, other)


def test_without_parameters_it_is_the_rule_alone() -> None:
    rule = Clippy(lambda_rel=0.1, lambda_abs=0.0)
    rule.step()
    for copied in (copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert copied.defaults["lambda_rel"] == 0.1
    with pytest.raises(ValueError, match="lambda_abs"):
        Clippy(lambda_abs=-1.0)
