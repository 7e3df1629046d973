"""The solo update of LBFGS: the two-loop recursion on the history before the step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dominance.record.rules.lbfgs import two_loop
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

torch.set_num_threads(1)


def bfgs(changes: list[Tensor], steps: list[Tensor], diagonal: float) -> Tensor:
    """The inverse Hessian itself, by the BFGS update (Nocedal and Wright, Eq. 6.17)."""
    identity = torch.eye(len(steps[0]), dtype=torch.float64)
    H = diagonal * identity
    for y, s in zip(changes, steps, strict=True):
        rho = 1 / (y @ s)
        V = identity - rho * torch.outer(y, s)
        H = V.T @ H @ V + rho * torch.outer(s, s)
    return H


def test_two_loop_against_the_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    steps = list(torch.randn(4, 6, generator=generator, dtype=torch.float64))
    changes = [s + 0.1 * torch.randn(6, generator=generator, dtype=torch.float64) for s in steps]
    g = torch.randn(6, generator=generator, dtype=torch.float64)
    assert two_loop(g, changes, steps, 0.7) == pytest.approx(bfgs(changes, steps, 0.7) @ g, rel=1e-10)


@pytest.mark.parametrize("options", [{}, {"line_search_fn": "strong_wolfe"}])
def test_solo_updates_of_a_quadratic(options: dict[str, Any]) -> None:
    """Task a pulls both parameters, task b only the second; the loss is a sum of squares with unequal curvatures."""
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([x, y], lr=0.5, max_iter=3, **options)
    attributor = Attributor(optimizer, "solo")
    assert "not split additively, as asked; solo update" in attributor.note

    def gradients() -> dict[Tensor, GradientSplit]:
        x2 = torch.tensor([[2.0, 20.0]], dtype=torch.float64) * x.detach()
        return {x: GradientSplit({"a": x2}), y: GradientSplit({"a": 0.5 * y.detach(), "b": 4.0 * y.detach()})}

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x[0, 0] ** 2 + 10 * x[0, 1] ** 2) + 0.25 * (y**2).sum() + 2 * (y**2).sum()
        loss.backward()
        return loss

    for step in range(3):
        given, state = gradients(), dict(optimizer.state[x])
        before = torch.cat([x.detach().flatten(), y.detach()])
        g = {
            "a": torch.cat([given[x].tasks["a"].flatten(), given[y].tasks["a"]]),
            "b": torch.cat([torch.zeros(2).double(), given[y].tasks["b"]]),
        }
        history = None if step == 0 else bfgs(list(state["old_dirs"]), list(state["old_stps"]), float(state["H_diag"]))
        attributor.before_step([x, y])
        optimizer.step(closure)
        split = attributor.after_step(given)
        for task in ("a", "b"):
            size = g[task].abs().sum().item()
            expected = -0.5 * (g[task] * min(1, 1 / size) if history is None else history @ g[task])
            assert split[y].solo[task] == pytest.approx(expected[2:], rel=1e-9)
            if task == "a":
                assert split[x].solo["a"].flatten() == pytest.approx(expected[:2], rel=1e-9)
        assert set(split[x].solo) == {"a"}
        moved = torch.cat([split[x].total.flatten(), split[y].total])
        assert moved == pytest.approx(torch.cat([x.detach().flatten(), y.detach()]) - before)
        assert math.isnan(split[x].closure)
        assert split[x].tasks == {}


def test_without_line_search_one_task_takes_the_whole_first_iteration() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([x], lr=0.5, max_iter=1)
    attributor = Attributor(optimizer, "solo")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    g = 2 * x.detach()
    attributor.before_step([x])
    optimizer.step(closure)
    split = attributor.after_step({x: GradientSplit({"all": g})})[x]
    assert split.solo["all"] == pytest.approx(split.total, rel=1e-6)
