from __future__ import annotations

import pytest
import torch
from optim.problems import Problem, flat_grad
from torch import Tensor

from dominance.optim import DBMTL, Combiner, ExcessMTL, MoDo

torch.set_num_threads(1)
F64 = torch.float64


def test_without_momentum_all_are_as_long_as_the_longest() -> None:
    """log losses 2 and 5 with slopes (4, 0) / 2 and (0, -1) / 5: both become 2 long."""
    w = torch.zeros(2, dtype=F64, requires_grad=True)
    DBMTL(beta=0.0).backward({"a": 2 + 4 * w[0], "b": 5 - w[1]}, [w])
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx([2, -2])


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_as_algorithm_1_on_whole_vectors(power: float) -> None:
    problem, method = Problem(seed=3, dtype=F64), DBMTL(0.7, decay_power=power)
    momenta = torch.zeros(3, sum(p.numel() for p in problem.shared), dtype=F64)
    for t in range(1, 7):
        problem.batch()
        logs = {task: (loss + 1e-8).log() for task, loss in problem.losses().items() if loss is not None}
        rows = [torch.autograd.grad(log, problem.shared, retain_graph=True) for log in logs.values()]
        gs = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
        beta = 0.7 / t**power
        momenta = beta * momenta + (1 - beta) * gs
        norms = momenta.norm(dim=1)
        problem.net.zero_grad()
        method.backward(problem.losses(), problem.parameters)
        torch.testing.assert_close(flat_grad(problem.shared), (norms.max() / (norms + 1e-8)) @ momenta)
        heads = list(problem.net.heads.parameters())
        expected = torch.autograd.grad(torch.stack(list(logs.values())).sum(), heads)
        torch.testing.assert_close(flat_grad(heads), torch.cat([g.reshape(-1) for g in expected]))
    assert method.steps == 6


def test_the_scale_of_a_loss_makes_no_difference() -> None:
    def steps(scales: tuple[float, ...]) -> list[Tensor]:
        problem, method = Problem(scales=scales, dtype=F64), DBMTL()
        found = []
        for _ in range(3):
            problem.batch()
            problem.net.zero_grad()
            method.backward(problem.losses(), problem.parameters)
            found.append(flat_grad(problem.parameters))
        return found

    for one, other in zip(steps((1, 1, 1)), steps((1, 1e3, 1e-2)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", [DBMTL, ExcessMTL, MoDo])
def test_a_representation_makes_no_difference(method: type[Combiner]) -> None:
    found = []
    for through in (True, False):
        problem = Problem(dtype=F64)
        losses = problem.losses()
        method().backward(losses, problem.parameters, representation=problem.representation if through else None)
        found.append(flat_grad(problem.parameters))
    assert torch.equal(*found)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="beta=1"):
        DBMTL(1.0)
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"takes their logarithm\): b has -1"):
        DBMTL().backward({"a": w.sum(), "b": 1 - w.sum()}, [w])
    with pytest.raises(FloatingPointError, match="b has inf"):
        DBMTL().backward({"a": w.sum(), "b": w.sum() / 0}, [w])
