"""Per-task gradients, whichever way they are taken, are those of one plain pass a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from optim.architectures import ARCHITECTURES, TASKS, mlp
from torch import Tensor, nn

from dominance.optim.engine import batched
from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.gradients import batched_way, task_gradients
from dominance.optim.engine.task_gradients import Matrix, Start

BATCHED = {"mlp", "batch_norm", "residual_convolutions", "transformer", "embedding", "dropout", "frozen", "unused",
           "experts", "entered_twice", "some_tasks_each", "one_output_each"}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def plainly(losses: dict[str, Tensor], parameters: Sequence[Tensor]) -> list[list[Tensor | None]]:
    return [
        list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)) for loss in losses.values()
    ]


@pytest.mark.parametrize("how", ["auto", "batched"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_way_gives_the_gradients_of_one_pass_a_task(name: str, how: str) -> None:
    model, losses = ARCHITECTURES[name]()
    parameters = [p for p in model.parameters() if p.requires_grad]
    made = losses()
    expected = plainly(made, parameters)
    if how == "batched" and name not in BATCHED:
        with pytest.raises(ValueError, match="cannot be done here"):
            task_gradients(made, parameters, how="batched")
        return
    found = task_gradients(made, parameters, how=how, retain_graph=True)  # type: ignore[arg-type]
    assert found.tasks == TASKS
    assert found.shared == tuple(sum(g is not None for g in column) > 1 for column in zip(*expected, strict=True))
    for row, wanted in zip(found.rows, expected, strict=True):
        for gradient, truth in zip(row, wanted, strict=True):
            assert (gradient is None) == (truth is None)
            if gradient is not None and truth is not None:
                torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in parameters)


@pytest.mark.parametrize("tasks", [4, 9])
def test_heads_and_trunk_may_be_batched_together_or_apart(tasks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk, heads, x = nn.Linear(6, 8), nn.ModuleList(nn.Linear(8, 1) for _ in range(tasks)), torch.randn(5, 6)
    parameters = [*trunk.parameters(), *heads.parameters()]
    z = trunk(x).tanh()
    losses = {str(k): (head(z).exp() * z).mean() for k, head in enumerate(heads)}
    expected = plainly(losses, parameters)
    for most in (0, 10**9):
        monkeypatch.setattr(batched, "MOST_ENTERING", most)
        rows = task_gradients(losses, parameters, how="batched", retain_graph=True).rows
        for row, wanted in zip(rows, expected, strict=True):
            for gradient, truth in zip(row, wanted, strict=True):
                torch.testing.assert_close(gradient, truth)


def test_what_is_batched_by_itself_depends_on_tasks_and_sizes() -> None:
    def way(tasks: int, batch: int) -> bool:
        trunk, x = nn.Sequential(nn.Linear(16, 64), nn.ReLU()), torch.randn(batch, 16)
        z = trunk(x)
        losses = [nn.Linear(64, 1)(z).mean() for _ in range(tasks)]
        return batched_way([Start([loss]) for loss in losses], list(trunk.parameters()), "auto") is not None

    assert [way(2, 8), way(3, 8), way(4, 8), way(8, 8), way(4, 1024), way(8, 1024)] == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("how", ["loop", "batched"])
def test_the_graph_is_freed_unless_it_is_to_be_kept(how: str) -> None:
    model, losses = mlp()
    made = losses()
    task_gradients(made, model, how=how, retain_graph=True)  # type: ignore[arg-type]
    task_gradients(made, model, how=how)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="second time"):
        made["a"].backward()


def test_hooks_of_parameters_see_each_task_apart() -> None:
    model, losses = mlp()
    seen: list[tuple[int, ...]] = []
    parameter = next(model.parameters())
    parameter.register_hook(lambda g: seen.append(tuple(g.shape)))
    parameter.register_post_accumulate_grad_hook(lambda _: pytest.fail("nothing is accumulated"))
    task_gradients(losses(), model)
    assert seen == [tuple(parameter.shape)] * len(TASKS)
    with pytest.raises(ValueError, match="hook"):
        task_gradients(losses(), model, how="batched")


def test_an_absent_task_has_no_row() -> None:
    model, losses = mlp()
    found = task_gradients(losses() | {"b": None}, model)
    assert found.tasks == ("a", "c", "d", "e")
    assert [g is None for g in found.rows[0]].count(False) == 6


def test_a_parameter_given_twice_counts_once() -> None:
    w = torch.ones(2, requires_grad=True)
    assert len(task_gradients({"a": w.sum()}, [w, w]).parameters) == 1


@pytest.mark.parametrize(
    ("losses", "parameters", "error", "message"),
    [
        (lambda w: [w.sum()], lambda w: [w], TypeError, "list"),
        (lambda w: {"a": 1.0}, lambda w: [w], TypeError, "'a' is a float"),
        (lambda w: {"a": w * 1}, lambda w: [w], ValueError, r"'a' has shape \(2,\)"),
        (lambda w: {"a": w.detach().sum()}, lambda w: [w], ValueError, "'a' needs no gradient"),
        (lambda w: {"a": None}, lambda w: [w], ValueError, "no task has a loss"),
        (lambda w: {1: w.sum()}, lambda w: [w], TypeError, "1 is named by a int; give a string"),
        (lambda w: {"a": w.sum()}, lambda w: iter(()), ValueError, "used up"),
        (lambda w: {"a": w.sum()}, lambda w: [("w", w)], TypeError, "tuple is among"),
        (lambda w: {"a": w.sum()}, lambda w: [w.detach()], ValueError, "none of the 1"),
        (lambda w: {"a": w.sum()}, lambda w: [w * 1], ValueError, "no leaf"),
        (lambda w: {"a": w.sum()}, lambda w: [w.detach().cfloat().requires_grad_()], ValueError, "complex"),
    ],
)  # fmt: skip
def test_mistakes_are_named(losses, parameters, error, message) -> None:  # type: ignore[no-untyped-def]
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(error, match=message):
        task_gradients(losses(w), parameters(w))


def test_an_unknown_way_and_sparse_gradients_are_refused() -> None:
    table = nn.Embedding(4, 2, sparse=True)
    with pytest.raises(TypeError, match="sparse=False"):
        task_gradients({"a": table(torch.tensor([1])).sum()}, table)
    with pytest.raises(ValueError, match="loop"):
        task_gradients({"a": table.weight.sum()}, table, how="fast")  # type: ignore[arg-type]


def test_losses_that_are_leaves_themselves() -> None:
    w = torch.ones((), requires_grad=True)
    for tasks in (TASKS[:2], TASKS):
        losses = {task: w if k == 0 else k * w for k, task in enumerate(tasks)}
        rows = task_gradients(losses, [w]).rows
        assert [float(g) for (g,) in rows if g is not None] == [1, *range(1, len(tasks))]
    with pytest.raises(ValueError, match="a loss is a leaf"):
        task_gradients({"a": w, "b": 2 * w}, [w], how="batched")


def test_a_hook_that_cannot_take_several_tasks_at_once_is_explained() -> None:
    trunk, heads = nn.Linear(6, 8), nn.ModuleList(nn.Linear(8, 1) for _ in TASKS)
    parameters = [*trunk.parameters(), *heads.parameters()]
    seen: list[float] = []

    def losses() -> dict[str, Tensor]:
        z = trunk(torch.ones(5, 6)).tanh()
        z.register_hook(lambda g: seen.append(g.norm().item()))
        return {task: head(z).square().mean() for task, head in zip(TASKS, heads, strict=True)}

    with pytest.raises(RuntimeError, match=r'hook of an activation.*combiner\.how = "loop"'):
        task_gradients(losses(), parameters)
    combiner = EqualMix()
    combiner.how = "loop"
    combiner.backward(losses(), parameters)
    assert len(seen) == len(TASKS)


class EqualMix(Weighting):
    """Weights of 1."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.ones(len(tasks))


def test_a_compiled_graph_that_allows_one_pass_is_explained() -> None:
    class Donating(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            raise RuntimeError("This backward function was compiled with non-empty donated buffers")

    w = torch.ones(2, requires_grad=True)
    z = Donating.apply(w)
    with pytest.raises(RuntimeError, match="donated_buffer = False before it is compiled") as caught:
        task_gradients({"a": z.sum(), "b": z.mean()}, [w])
    assert "non-empty" in str(caught.value.__cause__)
