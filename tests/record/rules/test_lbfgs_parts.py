"""The additive split of LBFGS: every iteration's move, from the gradient that it began from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit, StepSplit

torch.set_num_threads(1)


class Bowl:
    """Two tasks that pull a matrix and a vector; only task b knows the vector."""

    def __init__(self, *, curved: bool = False, **options: Any) -> None:
        self.x = torch.tensor([[1.0, -2.0]], dtype=torch.float64, requires_grad=True)
        self.y = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
        self.curved = curved
        self.optimizer = torch.optim.LBFGS([self.x, self.y], **options)
        self.attributor = Attributor(self.optimizer)
        self.evaluations: list[dict[str, Tensor]] = []

    def losses(self) -> dict[str, Tensor]:
        a = self.x[0, 0] ** 2 + 10 * self.x[0, 1] ** 2
        b = 2 * (self.y**2).sum() + self.x[0, 0] * self.y[0]
        return {"a": a + self.x[0, 1] ** 4 if self.curved else a, "b": b}

    def closure(self) -> Tensor:
        losses = self.losses()
        gradients = {
            task: torch.autograd.grad(loss, [self.x, self.y], retain_graph=True, allow_unused=True)
            for task, loss in losses.items()
        }
        self.optimizer.zero_grad()
        total = losses["a"] + losses["b"]
        total.backward()
        splits = {
            p: GradientSplit({task: g[i] for task, g in gradients.items() if g[i] is not None})
            for i, p in enumerate((self.x, self.y))
        }
        self.attributor.evaluated(total.item(), splits)
        flat = {
            task: torch.cat([torch.zeros(p.numel()).double() if g is None else g.reshape(-1) for g, p in pairs])
            for task, pairs in ((task, list(zip(g, (self.x, self.y), strict=True))) for task, g in gradients.items())
        }
        self.evaluations.append(flat)
        return total

    def step(self) -> dict[Tensor, StepSplit]:
        self.evaluations.clear()
        self.attributor.before_step([self.x, self.y])
        self.optimizer.step(self.closure)
        return self.attributor.after_step({self.x: GradientSplit({}), self.y: GradientSplit({})})


OPTIONS = [
    {"lr": 0.1, "max_iter": 4},
    {"lr": 0.1, "max_iter": 5, "history_size": 2},
    {"max_iter": 4, "line_search_fn": "strong_wolfe"},
    {"max_iter": 20, "line_search_fn": "strong_wolfe"},
]


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_tasks_parts_sum_to_the_step(options: dict[str, Any], curved: bool) -> None:
    bowl = Bowl(curved=curved, **options)
    assert bowl.attributor.additive
    for _ in range(4):
        for split in bowl.step().values():
            assert sum(split.tasks.values()) == pytest.approx(split.total, rel=1e-9, abs=1e-12)
            assert split.closure < 1e-9
    assert bowl.attributor.unclosed == 0


def test_each_move_is_the_inverse_hessian_of_its_own_iteration_times_the_tasks_gradient() -> None:
    lr = 0.1
    bowl = Bowl(lr=lr, max_iter=2, max_eval=10)
    split = bowl.step()
    first, second = bowl.evaluations
    whole = [first["a"] + first["b"], second["a"] + second["b"]]
    t = lr * min(1.0, 1 / whole[0].abs().sum().item())
    y, s = whole[1] - whole[0], -t * whole[0]
    rho = 1 / (y @ s)
    V = torch.eye(3).double() - rho * torch.outer(y, s)
    H = (s @ y) / (y @ y) * V.T @ V + rho * torch.outer(s, s)
    for task in ("a", "b"):
        expected = -t * first[task] - lr * (H @ second[task])
        got = torch.cat([split[p].tasks[task].reshape(-1) for p in (bowl.x, bowl.y)])
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_step_of_which_an_evaluation_is_not_known_is_not_split() -> None:
    bowl = Bowl(lr=0.1, max_iter=3)
    gradients = {bowl.x: GradientSplit({"a": torch.ones(1, 2).double()}), bowl.y: GradientSplit({})}
    told, bowl.attributor.evaluated = bowl.attributor.evaluated, lambda *_: None  # type: ignore[method-assign]
    bowl.attributor.before_step([bowl.x, bowl.y])
    bowl.optimizer.step(bowl.closure)
    split = bowl.attributor.after_step(gradients)[bowl.x]
    bowl.attributor.evaluated = told  # type: ignore[method-assign]
    assert split.tasks == {}
    assert math.isnan(split.closure)
    assert "2 parameter steps do not sum" in bowl.attributor.note
    assert all(math.isfinite(split.closure) for split in bowl.step().values())


def test_the_optimizer_and_its_parameters_are_left_as_they_are() -> None:
    recorded, plain = (Bowl(max_iter=5, line_search_fn="strong_wolfe", curved=True) for _ in range(2))
    for _ in range(3):
        recorded.step()
        plain.optimizer.step(plain.closure)
    assert torch.equal(recorded.x, plain.x)
    assert torch.equal(recorded.y, plain.y)
    one, two = (each.optimizer.state[each.x] for each in (recorded, plain))
    assert all(torch.equal(a, b) for a, b in zip(one["old_dirs"], two["old_dirs"], strict=True))
    assert one["n_iter"] == two["n_iter"]
