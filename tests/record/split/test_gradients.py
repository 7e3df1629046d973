"""Task gradients, against autograd.grad of the weighted loss on a graph of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from dominance.record.guest.limits import CannotLook
from dominance.record.split.gradients import task_gradients
from dominance.record.tasks.graph import edge_of

torch.set_num_threads(1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


X = torch.linspace(-1, 1, 15).reshape(5, 3)


def test_the_gradient_of_a_sum_of_weighted_terms() -> None:
    model = net()
    unused = nn.Parameter(torch.ones(2))
    parameters = [*model.parameters(), unused]
    out = model(X)
    terms = [out.square().mean(), out.abs().sum(1)]
    weights = [torch.tensor(0.3), torch.linspace(0, 1, 5)]
    found = task_gradients([edge_of(t) for t in terms], weights, parameters)
    again = model(X)
    loss = 0.3 * again.square().mean() + (weights[1] * again.abs().sum(1)).sum()
    want = torch.autograd.grad(loss, list(model.parameters()))
    for got, truth in zip(found, want, strict=False):
        torch.testing.assert_close(got, truth)
    assert found[-1] is None
    assert all(p.grad is None for p in parameters)
    (terms[0] + terms[1].sum()).backward()  # the graph is still there


def sparse() -> tuple[Tensor, Tensor, Tensor]:
    table = nn.Embedding(4, 2, sparse=True)
    want = torch.zeros(4, 2)
    want[1], want[3] = 2, 1
    return table(torch.tensor([1, 1, 3])).sum(), table.weight, want


def half() -> tuple[Tensor, Tensor, Tensor]:
    parameter = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    return (3 * parameter).sum(), parameter, torch.full((2, 2), 3.0)


def double() -> tuple[Tensor, Tensor, Tensor]:
    parameter = torch.ones(2, dtype=torch.float64, requires_grad=True)
    return (3 * parameter).sum(), parameter, torch.full((2,), 3.0, dtype=torch.float64)


@pytest.mark.parametrize("case", [sparse, half, double])
def test_dense_and_at_least_float32(case: Callable[[], tuple[Tensor, Tensor, Tensor]]) -> None:
    loss, parameter, want = case()
    (found,) = task_gradients([edge_of(loss)], [torch.ones_like(loss)], [parameter])
    assert found.layout == torch.strided
    assert found.dtype == want.dtype
    assert torch.equal(found, want)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed(reentrant: bool) -> None:
    """A re-entrant checkpoint refuses autograd.grad."""
    model, x = net(), X.clone().requires_grad_()
    parameters = list(model.parameters())
    want = torch.autograd.grad(0.5 * model(x).square().mean(), parameters)
    heard: list[int] = []
    parameters[1].register_post_accumulate_grad_hook(lambda p: heard.append(1))
    before = [torch.ones_like(parameters[0]), None, None, None]
    parameters[0].grad = before[0]
    loss = checkpoint(model, x, use_reentrant=reentrant).square().mean()
    for _ in range(2):
        found = task_gradients([edge_of(loss)], [torch.tensor(0.5)], parameters)
        for got, truth in zip(found, want, strict=True):
            torch.testing.assert_close(got, truth)
    assert [p.grad for p in parameters] == before
    assert parameters[0].grad is before[0]
    assert torch.equal(before[0], torch.ones_like(before[0])), "not added to"
    assert x.grad is None
    assert heard == []
    loss.backward()
    assert heard == [1]
    torch.testing.assert_close(parameters[0].grad, 1 + 2 * want[0])
    assert x.grad is not None


def test_reentrant_beside_other_processes(tmp_path: Path) -> None:
    """What fills .grad would be averaged with theirs."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = net()
        averaged = DistributedDataParallel(model)
        x = X.clone().requires_grad_()
        loss = averaged(checkpoint(model[0], x, use_reentrant=True).cumsum(1)[:, :3]).sum()
        with pytest.raises(CannotLook, match="other processes"):
            task_gradients([edge_of(loss)], [torch.tensor(1.0)], list(model.parameters()))
        assert all(p.grad is None for p in model.parameters())
    finally:
        dist.destroy_process_group()


def test_reentrant_after_an_exception() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("broken backward")

    model, x = net(), X.clone().requires_grad_()
    first, last = model[0], model[2]
    held = last.weight.grad = torch.ones(2, 4)
    hidden = Broken.apply(checkpoint(first, x, use_reentrant=True))
    loss = checkpoint(last, hidden, use_reentrant=True).sum()
    with pytest.raises(ValueError, match="broken backward"):
        task_gradients([edge_of(loss)], [torch.tensor(1.0)], list(model.parameters()))
    assert last.weight.grad is held
    assert torch.equal(held, torch.ones(2, 4))
    assert last.bias.grad is None


def test_other_errors_are_raised() -> None:
    parameter = torch.ones(2, requires_grad=True)
    loss = parameter.square().sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        task_gradients([edge_of(loss)], [torch.tensor(1.0)], [parameter])
