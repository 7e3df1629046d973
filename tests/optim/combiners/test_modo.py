from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad
from torch import Tensor

from dominance.optim import MGDA, MoDo
from dominance.optim.combiners.modo import onto_simplex

torch.set_num_threads(1)
F64 = torch.float64


def test_two_tasks_by_hand() -> None:
    """Slopes (3, 1) after (2, 0): G Hᵀ λ = (3, 1) · 1, so λ = Π((0.5, 0.5) - 0.1 (3, 1)) = (0.4, 0.6)."""
    modo, w = MoDo(0.1, 0.0), torch.zeros(1, dtype=F64, requires_grad=True)
    for slopes, expected in (((2.0, 0.0), 1.0), ((3.0, 1.0), 0.4 * 3 + 0.6)):
        w.grad = None
        modo.backward({task: slope * w.sum() for task, slope in zip("ab", slopes, strict=True)}, [w])
        assert w.grad is not None
        assert w.grad.tolist() == pytest.approx([expected])


@pytest.mark.parametrize("double", [True, False])
def test_against_torchjd(double: bool) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    theirs, ours = torchjd.MoDoWeighting(gamma=0.02, rho=0.1), MoDo(0.02, 0.1, double=double)
    problem, before, moved = Problem(dtype=F64), None, []
    for _ in range(12):
        problem.batch()
        rows = problem.flat()
        other = before if double else rows
        weights = torch.full((3,), 1 / 3, dtype=F64) if other is None else theirs(rows @ other.T)
        problem.net.zero_grad()
        ours.backward(problem.losses(), problem.parameters)
        torch.testing.assert_close(flat_grad(problem.shared), weights @ rows)
        moved.append(float(weights.max() - weights.min()))
        before = rows
    assert moved[-1] > 0.1


def test_on_one_batch_it_comes_to_mgda() -> None:
    """With G = H and rho = 0 every step descends |Σ λ g|², which MGDA makes least."""
    problem, ours = Problem(seed=2, scales=(1, 1, 1), dtype=F64), MoDo(2.0, 0.0, double=False)
    for _ in range(500):
        problem.net.zero_grad()
        ours.backward(problem.losses(), problem.parameters)
    rows = problem.flat()
    weights = MGDA().weights((rows @ rows.T).numpy(), np.ones(3), "abc")
    torch.testing.assert_close(flat_grad(problem.shared), torch.from_numpy(weights) @ rows, rtol=1e-4, atol=1e-6)


def test_noise_is_not_taken_for_length() -> None:
    """Two tasks with the same expected gradient, one of them noisy: one batch alone turns away from it, two do not."""
    found = []
    for double in (True, False):
        generator, ours = torch.Generator().manual_seed(0), MoDo(1e-3, 0.0, double=double)
        for _ in range(600):
            w = torch.ones(50, dtype=F64, requires_grad=True)
            noise = torch.randn(50, generator=generator, dtype=F64)
            ours.backward({"a": w.sum(), "b": w.sum() + (noise * w).sum()}, [w])
        found.append(ours.shares["b"] / sum(ours.shares.values()))
    assert abs(found[0] - 0.5) < 0.2
    assert found[1] < 0.05


def test_the_projection_is_the_nearest_of_many() -> None:
    rng = np.random.default_rng(0)
    for k in (1, 2, 3, 5):
        others = rng.dirichlet(np.ones(k), 400)
        for point in rng.standard_normal((20, k)) * 3:
            found = onto_simplex(point)
            assert found.min() >= 0
            assert found.sum() == pytest.approx(1)
            assert ((point - found) ** 2).sum() <= ((point - others) ** 2).sum(axis=1).min() + 1e-12
    inside = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(onto_simplex(inside), inside)


def test_an_absent_task_keeps_its_weight_and_its_gradient() -> None:
    problem, ours = Problem(dtype=F64), MoDo(0.01)
    for absent in ((), (), ("a",), ("a",)):
        problem.batch()
        ours.backward(problem.losses(absent), problem.parameters)
        if len(absent) == 0:
            kept, held = ours.shares["a"], {key: g.clone() for key, g in ours.last["a"].items()}
    assert ours.shares["a"] == kept
    assert all(torch.equal(g, ours.last["a"][key]) for key, g in held.items())
    assert sum(ours.shares.values()) == pytest.approx(3)


def test_its_state_goes_on_to_the_bit() -> None:
    def some(ours: MoDo, problem: Problem, count: int) -> Tensor:
        for _ in range(count):
            problem.batch()
            problem.net.zero_grad()
            ours.backward(problem.losses(), problem.parameters)
        return flat_grad(problem.parameters)

    whole = some(MoDo(0.01), Problem(), 6)
    problem, first = Problem(), MoDo(0.01)
    some(first, problem, 3)
    second: Any = MoDo(0.01)
    second.load_state_dict(first.state_dict())
    assert torch.equal(some(second, problem, 3), whole)


def test_heads_are_fed_their_own() -> None:
    problem = Problem(dtype=F64)
    MoDo().backward(problem.losses(), problem.parameters)
    head = problem.net.heads["b"].weight
    torch.testing.assert_close(head.grad, torch.autograd.grad(problem.losses()["b"], head)[0])  # type: ignore[arg-type]


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="gamma=0"):
        MoDo(0)
    with pytest.raises(ValueError, match="rho=-1"):
        MoDo(rho=-1)
    w = torch.zeros(1, requires_grad=True)
    with pytest.raises(FloatingPointError, match="the gradient of a is not finite"):
        MoDo().backward({"a": w.sqrt().sum(), "b": w.sum()}, [w])
