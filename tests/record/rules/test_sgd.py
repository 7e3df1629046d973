"""SGD's split, worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dominance.record.rules.sgd import SGDRule
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit, StepSplit

torch.set_num_threads(1)
LR, MU = 0.1, 0.9


def parameter(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def step(attributor: Attributor, p: Tensor, a: Tensor, b: Tensor) -> StepSplit:
    p.grad = a + b
    attributor.before_step([p])
    attributor.optimizer.step()
    return attributor.after_step({p: GradientSplit({"a": a, "b": b})})[p]


def test_plain_sgd_is_minus_lr_times_the_task_gradient_exactly() -> None:
    p, a, b = parameter(1.0, -2.0), torch.tensor([3.0, 5.0]).double(), torch.tensor([-1.0, 0.25]).double()
    split = step(Attributor(torch.optim.SGD([p], lr=LR)), p, a, b)
    assert torch.equal(split.tasks["a"], -LR * a)
    assert torch.equal(split.tasks["b"], -LR * b)
    assert split.residual is split.unattributed is split.decay is None
    assert split.closure < 1e-15


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        # gradients of a: 1 then 0; of b: 0 then 2. b_1 = u_1 (never dampened), b_2 = 0.9 b_1 + (1 - dampening) u_2
        ({"momentum": MU}, ((-0.1, 0.0), (-0.09, -0.2))),
        ({"momentum": MU, "dampening": 0.5}, ((-0.1, 0.0), (-0.09, -0.1))),
        # u + 0.9 b: first 1 + 0.9; then a: 0.9 * 0.9, b: 2 + 0.9 * 2
        ({"momentum": MU, "nesterov": True}, ((-0.19, 0.0), (-0.081, -0.38))),
        ({"momentum": MU, "maximize": True}, ((0.1, 0.0), (0.09, 0.2))),
    ],
    ids=["momentum", "dampening", "nesterov", "maximize"],
)
def test_momentum_by_hand(options: dict[str, Any], shares: tuple[tuple[float, float], ...]) -> None:
    p = parameter(1.0)
    attributor = Attributor(torch.optim.SGD([p], lr=LR, **options))
    for (a, b), expected in zip([(1.0, 0.0), (0.0, 2.0)], shares, strict=True):
        split = step(attributor, p, torch.tensor([a]).double(), torch.tensor([b]).double())
        assert [split.tasks["a"].item(), split.tasks["b"].item()] == pytest.approx(expected, abs=1e-15)


def test_coupled_decay_has_its_own_momentum() -> None:
    p = parameter(2.0)
    attributor = Attributor(torch.optim.SGD([p], lr=LR, momentum=MU, weight_decay=0.5))
    zero = torch.zeros(1).double()
    first = step(attributor, p, zero, zero)  # u = 0.5 * 2; theta becomes 2 - 0.1
    second = step(attributor, p, zero, zero)  # 0.9 * 1 + 0.5 * 1.9
    assert first.decay is not None
    assert second.decay is not None
    assert [first.decay.item(), second.decay.item()] == pytest.approx([-0.1, -0.1 * (0.9 + 0.95)])
    assert second.tasks["a"].item() == second.tasks["b"].item() == 0


def test_unattributed_momentum_decays_by_mu_each_step() -> None:
    generator = torch.Generator().manual_seed(0)
    p = parameter(1.0, 2.0, 3.0)
    optimizer = torch.optim.SGD([p], lr=LR, momentum=MU)
    for _ in range(50):
        p.grad = torch.randn(3, generator=generator).double()
        optimizer.step()
    old = optimizer.state[p]["momentum_buffer"].clone()
    attributor = Attributor(optimizer)
    attributor.begin_burst()
    seen = torch.zeros(3).double()
    for j in range(1, 11):
        a, b = torch.randn(2, 3, generator=generator).double()
        seen = MU * seen + a
        split = step(attributor, p, a, b)
        assert split.unattributed is not None
        assert split.unattributed == pytest.approx(-LR * MU**j * old, rel=1e-12)
        assert split.tasks["a"] == pytest.approx(-LR * seen, rel=1e-12)
        assert split.closure < 1e-12


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_what_it_remembers_and_which_rows_it_moves(momentum: float, decay: float) -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=momentum, weight_decay=decay)
    rule, (group,) = SGDRule(optimizer), optimizer.param_groups
    assert rule.memory(p, group) is None
    p.grad = torch.ones(2)
    optimizer.step()
    assert rule.remembers(group) == bool(momentum)
    assert (rule.memory(p, group) is not None) == bool(momentum)
    assert rule.moves_rows(group) == (momentum == decay == 0)
    linear = rule.linear(p, group, torch.ones(2), before=True)
    assert linear.carry == (momentum or None)
    assert linear.coupled == decay
