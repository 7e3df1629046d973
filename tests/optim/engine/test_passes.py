"""The engine against one pass for each task, taken of the weighted sum on a graph of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.utils.checkpoint import checkpoint

from dominance.optim.engine.gradients import How, rows
from dominance.optim.engine.task_gradients import Start

K = 5
Outputs = list[list[Tensor]]
"""Of each task, what its gradient is taken of."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(6, 2) for _ in range(K)])
        self.out = nn.Linear(6, K)
        self.table = nn.Embedding(9, 3)
        self.unused = nn.Parameter(torch.ones(2))


def of_heads(net: Net, x: Tensor) -> list[Tensor]:
    shared = net.trunk(x)
    return [head(shared) for head in net.heads]


def scalars(net: Net, x: Tensor) -> Outputs:
    return [[made.square().mean()] for made in of_heads(net, x)]


def vectors(net: Net, x: Tensor) -> Outputs:
    return [[made.square().sum(1)] for made in of_heads(net, x)]


def two_terms(net: Net, x: Tensor) -> Outputs:
    return [[made.square().sum(1), made.abs().mean()] for made in of_heads(net, x)]


def one_tensor(net: Net, x: Tensor) -> Outputs:
    """Shares of the gradient that enters at one place: columns, or groups of rows."""
    return [[net.out(net.trunk(x))]] * K


def entries_of_one(net: Net, x: Tensor) -> Outputs:
    made = net.out(net.trunk(x)).square().mean(0)
    return [[entry] for entry in made.unbind()]


def one_above_another(net: Net, x: Tensor) -> Outputs:
    losses = [loss for (loss,) in scalars(net, x)]
    return [[losses[0]], [losses[0] * losses[1]], *([loss] for loss in losses[2:])]


def in_the_trunk_and_above(net: Net, x: Tensor) -> Outputs:
    shared = net.trunk(x)
    return [[shared], *([head(shared).square().mean()] for head in list(net.heads)[1:])]


def with_the_weights_themselves(net: Net, x: Tensor) -> Outputs:
    weight = net.trunk.get_submodule("0").weight
    return [[loss, weight] if k == 2 else [loss] for k, (loss,) in enumerate(scalars(net, x))]


def of_a_table(net: Net, x: Tensor) -> Outputs:
    return scalars(net, net.table(torch.arange(7) % 4))


def of_a_sparse_table(net: Net, x: Tensor) -> Outputs:
    net.table.sparse = True
    return of_a_table(net, x)


MADE = [
    scalars, vectors, two_terms, one_tensor, entries_of_one, one_above_another, in_the_trunk_and_above,
    with_the_weights_themselves, of_a_table, of_a_sparse_table,
]  # fmt: skip
BATCHED = {scalars, vectors, two_terms, one_tensor, entries_of_one, of_a_table, in_the_trunk_and_above}


def problem(make: Callable[[Net, Tensor], Outputs]) -> tuple[Outputs, list[list[Tensor]], list[Tensor]]:
    torch.manual_seed(0)
    net = Net()
    outputs = make(net, torch.randn(7, 3))
    generator = torch.Generator().manual_seed(1)
    weights = [[torch.randn(o.shape, generator=generator) for o in of_task] for of_task in outputs]
    return outputs, weights, list(net.parameters())


def starts_of(outputs: Outputs, weights: list[list[Tensor]]) -> list[Start]:
    def edge(output: Tensor) -> GradientEdge:
        return torch.autograd.graph.get_gradient_edge(output)

    return [Start([edge(o) for o in of_task], of) for of_task, of in zip(outputs, weights, strict=True)]


def one_by_one(outputs: Outputs, weights: list[list[Tensor]], parameters: list[Tensor]) -> list[list[Tensor | None]]:
    totals = [
        torch.stack([(w * o).sum() for o, w in zip(of_task, of, strict=True)]).sum()
        for of_task, of in zip(outputs, weights, strict=True)
    ]
    return [list(torch.autograd.grad(t, parameters, retain_graph=True, allow_unused=True)) for t in totals]


def assert_same(found: list[list[Tensor | None]], wanted: list[list[Tensor | None]]) -> None:
    assert [[g is None for g in row] for row in found] == [[g is None for g in row] for row in wanted]
    for row, truth in zip(found, wanted, strict=True):
        for g, t in zip(row, truth, strict=True):
            if g is not None and t is not None:
                assert g.layout == t.layout
                torch.testing.assert_close(g.to_dense(), t.to_dense())


@pytest.mark.parametrize("how", ["loop", "auto", "batched"])
@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_gradients_of_each_task(make: Callable[[Net, Tensor], Outputs], how: How) -> None:
    if how == "batched" and make not in BATCHED:
        pytest.skip("goes task by task")
    outputs, weights, parameters = problem(make)
    found = rows(starts_of(outputs, weights), parameters, retain_graph=True, how=how)
    assert_same(found, one_by_one(outputs, weights, parameters))
    assert all(p.grad is None for p in parameters)


@pytest.mark.parametrize("how", ["loop", "batched"])
def test_losses_need_no_gradients_to_start_from(how: How) -> None:
    outputs, _, parameters = problem(scalars)
    wanted = one_by_one(outputs, [[torch.ones(())]] * K, parameters)
    assert_same(rows([Start(of) for of in outputs], parameters, retain_graph=False, how=how), wanted)


@pytest.mark.parametrize("make", [one_above_another, of_a_sparse_table], ids=lambda make: make.__name__)
def test_what_cannot_be_passed_at_once(make: Callable[[Net, Tensor], Outputs]) -> None:
    outputs, weights, parameters = problem(make)
    with pytest.raises(ValueError, match="cannot be done here"):
        rows(starts_of(outputs, weights), parameters, retain_graph=True, how="batched")


def test_tensors_between_are_asked_for_as_parameters_are() -> None:
    torch.manual_seed(0)
    net = Net()
    shared = net.trunk(torch.randn(7, 3))
    outputs = [[head(shared).square().mean()] for head in net.heads]
    weights = [[torch.tensor(float(k))] for k in range(K)]
    found = rows(starts_of(outputs, weights), [shared], retain_graph=True)
    assert_same(found, one_by_one(outputs, weights, [shared]))


def test_only_the_tasks_behind_reentrant_checkpointing_are_taken_otherwise() -> None:
    torch.manual_seed(0)
    net = Net()
    x = torch.randn(7, 3, requires_grad=True)
    hides: Any = checkpoint(net.trunk, x, use_reentrant=True)
    outputs = [[hides.square().mean()], [net.out(x @ torch.ones(3, 6)).square().mean()]]
    starts = [Start(of) for of in outputs]
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        rows(starts, [net.out.weight], retain_graph=True)
    asked: list[Start] = []

    def hidden(start: Start, nodes: Any) -> list[Tensor | None]:
        asked.append(start)
        return [None]

    found = rows(starts, [net.out.weight], retain_graph=True, hidden=hidden)
    assert asked == [starts[0]]
    (wanted,) = torch.autograd.grad(outputs[1][0], [net.out.weight])
    assert found[0] == [None]
    torch.testing.assert_close(found[1][0], wanted)
