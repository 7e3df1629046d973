"""ASGD's split, worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from record.rules.scalar import assert_equal, recorded_parts, worked

from dominance.record.rules.asgd import ASGDRule


def test_by_hand() -> None:
    lr, lambd, alpha, decay = 0.125, 0.5, 0.75, 0.25

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        # the step t - 1 left this step size behind, in single precision
        eta = torch.tensor(lr / (1 + lambd * lr * (t - 1)) ** alpha if t > 1 else lr).item()
        return {**{task: -eta * g for task, g in gradients.items()}, "decay": -eta * (decay + lambd) * theta}

    options: dict[str, Any] = {"lr": lr, "lambd": lambd, "alpha": alpha, "weight_decay": decay}
    assert_equal(recorded_parts(lambda p: torch.optim.ASGD(p, **options)), worked(step))


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_the_first_step_has_the_learning_rate_in_the_precision_of_the_optimizers_scalars(default: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        p = torch.ones(2, requires_grad=True)
        optimizer = torch.optim.ASGD([p], lr=0.1)
        rule, (group,) = ASGDRule(optimizer), optimizer.param_groups
        assert rule.before(p, group) == float(torch.tensor(0.1, dtype=default))
        p.grad = torch.ones(2)
        optimizer.step()
        assert rule.before(p, group) == float(optimizer.state[p]["eta"])
    finally:
        torch.set_default_dtype(before)
