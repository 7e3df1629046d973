from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from optim.problems import TASKS, Problem, flat_grad
from optim.sampling import far, grams, jacobians
from torch import Tensor

from dominance.optim import PCGrad

torch.set_num_threads(1)
F64 = torch.float64


def brute(gs: list[Tensor], orders: list[list[int]]) -> Tensor:
    """Algorithm 4 of AdaTask on whole vectors; rows of manipulated gradients."""
    rows = []
    for i, order in enumerate(orders):
        hat = gs[i].clone()
        for j in order:
            if i != j and hat @ gs[j] < 0:
                hat = hat - (hat @ gs[j]) / gs[j].norm() ** 2 * gs[j]
        rows.append(hat)
    return torch.stack(rows)


def orders_of(combiner: PCGrad, k: int) -> list[list[int]]:
    """What its generator draws next, without moving it."""
    twin = torch.Generator()
    twin.set_state(combiner.generator.get_state())
    return [torch.randperm(k, generator=twin).tolist() for _ in range(k)]


def test_two_tasks_by_hand() -> None:
    w = torch.zeros(2, dtype=F64, requires_grad=True)
    losses: dict[str, Tensor | None] = {"a": 2 * w[0], "b": w[1] - w[0]}
    PCGrad().backward(losses, [w])
    # g_a = (2, 0) -> (2, 0) + 2/2 (-1, 1) = (1, 1); g_b = (-1, 1) -> (0, 1)
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 2.0]


def test_each_row_keeps_its_manipulated_gradient() -> None:
    gram = np.array([[4.0, -2.0], [-2.0, 2.0]])
    assert PCGrad().mixing(gram, np.ones(2), ("a", "b")).tolist() == [[1.0, 1.0], [0.5, 1.0]]


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_as_algorithm_4_on_whole_vectors(dtype: torch.dtype, close: float) -> None:
    problem, combiner = Problem(seed=3, dtype=dtype), PCGrad(seed=7)
    changed = 0
    for _ in range(20):
        problem.batch()
        gs = list(problem.flat())
        expected = brute(gs, orders_of(combiner, 3)).sum(0)
        changed += not torch.allclose(expected, torch.stack(gs).sum(0))
        problem.net.zero_grad()
        combiner.backward(problem.losses(), problem.parameters)
        assert (flat_grad(problem.shared) - expected).norm() <= close * expected.norm()
    assert changed > 4


def test_the_same_weights_as_torchjd(monkeypatch: pytest.MonkeyPatch) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    peer, ours = torchjd.PCGrad().gramian_weighting, PCGrad()
    for g in jacobians(1500):
        gram = g @ g.T
        orders = orders_of(ours, len(gram))
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randperm", _in_turn(orders))
            expected = peer(torch.from_numpy(gram)).numpy()
        weights = ours.mixing(gram, np.ones(len(gram)), TASKS[: len(gram)]).sum(axis=0)
        assert far(g, weights, expected) < 1e-9


def test_the_order_is_drawn_for_each_task() -> None:
    """Of three tasks, the last two are seen in both orders, independently for each."""
    combiner = PCGrad()
    drawn = {tuple(tuple(order) for order in orders_of(combiner, 3)) for _ in range(300) if _draw(combiner)}
    assert len(drawn) > 150
    assert {orders[0] for orders in drawn} == set(permutations(range(3)))


def test_a_projected_gradient_does_not_conflict_with_the_last_one() -> None:
    for gram in grams(300):
        combiner = PCGrad()
        last = [[j for j in order if j != i][-1:] for i, order in enumerate(orders_of(combiner, len(gram)))]
        products = combiner.mixing(gram, np.ones(len(gram)), TASKS[: len(gram)]) @ gram
        for i, js in enumerate(last):
            for j in js:
                assert products[i, j] >= -1e-9 * np.sqrt(gram[i, i] * gram[j, j])


def test_scaling_one_gradient_scales_its_row() -> None:
    """The projections do not see how long the other gradients are."""
    scale = np.diag([1.0, 1e4, 1e-3])
    for g in jacobians(300, sizes=(3,)):
        plain = PCGrad(seed=1).mixing(g @ g.T, np.ones(3), TASKS)
        scaled = PCGrad(seed=1).mixing(scale @ g @ g.T @ scale, np.ones(3), TASKS)
        for row, expected in zip(scaled @ scale, scale @ plain, strict=True):
            assert far(g, row, expected) < 1e-9


def test_one_task_and_absent_tasks() -> None:
    problem = Problem(dtype=F64)
    PCGrad().backward(problem.losses(absent=["a", "c"]), problem.parameters)
    torch.testing.assert_close(flat_grad(problem.shared), problem.flat(absent=["a", "c"])[0])


def _draw(combiner: PCGrad) -> bool:
    combiner.mixing(np.eye(3), np.ones(3), TASKS)
    return True


def _in_turn(orders: list[list[int]]) -> Callable[[int], Tensor]:
    left = iter(orders)
    return lambda n: torch.tensor(next(left))
