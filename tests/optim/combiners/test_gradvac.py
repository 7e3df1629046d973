from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from optim.problems import TASKS, Problem, flat_grad
from optim.sampling import far, jacobians
from torch import Tensor

from dominance.optim import GradVac, PCGrad

torch.set_num_threads(1)


def orders_of(combiner: GradVac | PCGrad, k: int) -> list[list[int]]:
    """What its generator draws next, without moving it, less the task itself."""
    twin = torch.Generator()
    twin.set_state(combiner.generator.get_state())
    return [[j for j in torch.randperm(k, generator=twin).tolist() if j != i] for i in range(k)]


def brute(gs: list[Tensor], targets: dict[tuple[int, int], float], beta: float, orders: list[list[int]]) -> Tensor:
    """Algorithm 1 of GradVac on whole vectors, with angles as in Eq. 7 of the MoCoGrad paper; targets move."""
    rows = []
    for i, order in enumerate(orders):
        hat = gs[i].clone()
        for j in order:
            phi = math.acos(max(-1.0, min(1.0, float(hat @ gs[j] / (hat.norm() * gs[j].norm())))))
            gamma = math.acos(targets.get((i, j), 0.0))
            targets[i, j] = (1 - beta) * math.cos(gamma) + beta * math.cos(phi)
            if math.cos(phi) < math.cos(gamma):
                alpha = hat.norm() * (math.cos(gamma) * math.sin(phi) - math.cos(phi) * math.sin(gamma))
                hat = hat + alpha / (gs[j].norm() * math.sin(gamma)) * gs[j]
        rows.append(hat)
    return torch.stack(rows)


def parallel(g: NDArray[np.float64]) -> bool:
    """Whether a gradient is zero, or a multiple of another."""
    norms = np.linalg.norm(g, axis=1)
    return bool(not norms.all() or np.triu(np.abs(g @ g.T) > (1 - 1e-9) * np.outer(norms, norms), 1).any())


def test_opposed_gradients_cancel_and_leave_no_target() -> None:
    """Half of what is left of a gradient is rounding error: it must not be turned, nor set a target."""
    g = np.array([[1.0, 0.3], [-3.7, -1.11], [0.2, 1.0]])
    for seed in range(20):
        vac = GradVac(beta=0.5, seed=seed)
        mixing = vac.mixing(g @ g.T, np.ones(3), TASKS)
        if orders_of(GradVac(seed=seed), 3)[0] == [1, 2]:
            assert vac.targets["a"].keys() == {"b"}
            assert np.linalg.norm(mixing[0] @ g) < 1e-12


def test_two_tasks_by_hand() -> None:
    gram = np.array([[4.0, 3.0], [3.0, 9.0]])  # cos 0.5
    vac = GradVac(beta=0.5)
    assert vac.mixing(gram, np.ones(2), ("a", "b")).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert vac.targets == {"a": {"b": 0.25}, "b": {"a": 0.25}}
    # now orthogonal, below the target 1/4: alpha = |g_i| / |g_j| * (1/4) / sqrt(15/16)
    mixing = vac.mixing(np.diag([4.0, 9.0]), np.ones(2), ("a", "b"))
    assert mixing[0, 1] == pytest.approx(2 / 3 / math.sqrt(15))
    assert mixing[1, 0] == pytest.approx(3 / 2 / math.sqrt(15))
    assert vac.targets["a"]["b"] == pytest.approx(0.125)


def test_what_is_changed_reaches_the_target() -> None:
    vac = GradVac(beta=1.0)
    vac.mixing(np.array([[1.0, 0.8], [0.8, 1.0]]), np.ones(2), ("a", "b"))
    gram = np.array([[2.0, -1.0], [-1.0, 30.0]])
    mixing = vac.mixing(gram, np.ones(2), ("a", "b"))
    length = math.sqrt(mixing[0] @ gram @ mixing[0])
    assert mixing[0] @ gram[:, 1] / length / math.sqrt(30.0) == pytest.approx(0.8)


def test_it_begins_as_pcgrad() -> None:
    for g in jacobians(500):
        k = len(g)
        vac, pc = (m.mixing(g @ g.T, np.ones(k), TASKS[:k]) for m in (GradVac(seed=2), PCGrad(seed=2)))
        for row, expected in zip(vac, pc, strict=True):
            assert far(g, row, expected) < 1e-7


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_as_the_algorithm_on_whole_vectors(dtype: torch.dtype, close: float) -> None:
    problem, vac = Problem(seed=3, dtype=dtype), GradVac(beta=0.3, seed=7)
    targets: dict[tuple[int, int], float] = {}
    raised = 0
    for _ in range(20):
        problem.batch()
        gs = list(problem.flat())
        expected = brute(gs, targets, 0.3, orders_of(vac, 3)).sum(0)
        raised += not torch.allclose(expected, torch.stack(gs).sum(0))
        problem.net.zero_grad()
        vac.backward(problem.losses(), problem.parameters)
        assert (flat_grad(problem.shared) - expected).norm() <= close * expected.norm()
    assert raised > 10
    for (i, j), target in targets.items():
        assert vac.targets[TASKS[i]][TASKS[j]] == pytest.approx(target, abs=1e-5)


def test_the_same_weights_as_torchjd_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of steps, so that targets matter. It takes a direction also where gradients have cancelled; we do not."""
    torchjd = pytest.importorskip("torchjd.aggregation")
    for number, (first, second) in enumerate(zip(jacobians(400, (3,), 1), jacobians(400, (3,), 2), strict=True)):
        if parallel(first) or parallel(second):
            continue
        peer, ours = torchjd.GradVac(beta=0.4, eps=1e-30).gramian_weighting, GradVac(beta=0.4, seed=number)
        for g in (first, second):
            left = iter([[j - (j > i) for j in order] for i, order in enumerate(orders_of(ours, 3))])
            with monkeypatch.context() as patch:
                patch.setattr(torch, "randperm", lambda n, left=left: torch.tensor(next(left)))
                expected = peer(torch.from_numpy(g @ g.T)).numpy()
            weights = ours.mixing(g @ g.T, np.ones(3), TASKS).sum(axis=0)
            assert far(g, weights, expected) < 1e-6


def test_a_zero_gradient_moves_nothing() -> None:
    vac = GradVac()
    assert vac.mixing(np.diag([1.0, 0.0]), np.ones(2), ("a", "b")).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert vac.targets == {"a": {}, "b": {}}


def test_a_target_of_one_stays_finite() -> None:
    vac = GradVac(beta=1.0)
    vac.mixing(np.ones((2, 2)), np.ones(2), ("a", "b"))
    assert vac.targets["a"]["b"] == 1.0
    assert np.abs(vac.mixing(np.eye(2), np.ones(2), ("a", "b"))).max() < 1000


def test_an_absent_task_keeps_its_targets() -> None:
    problem, vac = Problem(), GradVac(beta=0.5)
    vac.backward(problem.losses(), problem.parameters)
    before = {task: dict(targets) for task, targets in vac.targets.items()}
    problem.batch()
    vac.backward(problem.losses(absent=["c"]), problem.parameters)
    assert vac.targets["c"] == before["c"]
    assert vac.targets["a"]["c"] == before["a"]["c"]
    assert vac.targets["a"]["b"] != before["a"]["b"]


def test_beta_out_of_range() -> None:
    with pytest.raises(ValueError, match="beta is 2"):
        GradVac(beta=2)
