"""RMSprop's split, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from record.rules.scalar import assert_equal, recorded_parts, worked

from dominance.record.rules.rmsprop import RMSpropRule


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("centered", [False, True])
def test_by_hand(centered: bool, momentum: float) -> None:
    lr, alpha, eps, decay = 0.1, 0.9, 1e-3, 0.2
    seen = {"v": 0.0, "mean": 0.0}
    buffer = {"a": 0.0, "b": 0.0, "decay": 0.0}

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        inputs = {**gradients, "decay": decay * theta}
        u = sum(inputs.values())
        seen["v"] = alpha * seen["v"] + (1 - alpha) * u**2
        seen["mean"] = alpha * seen["mean"] + (1 - alpha) * u
        root = math.sqrt(seen["v"] - seen["mean"] ** 2 * centered) + eps
        for part, value in inputs.items():
            buffer[part] = momentum * buffer[part] + value / root
        return {part: -lr * value for part, value in buffer.items()}

    options: dict[str, Any] = {
        "lr": lr,
        "alpha": alpha,
        "eps": eps,
        "weight_decay": decay,
        "momentum": momentum,
        "centered": centered,
    }
    assert_equal(recorded_parts(lambda p: torch.optim.RMSprop(p, **options)), worked(step))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 2.0])
def test_what_it_remembers(momentum: float) -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.RMSprop([p], lr=0.1, momentum=momentum)
    p.grad = torch.ones(2)
    optimizer.step()
    rule, (group,) = RMSpropRule(optimizer), optimizer.param_groups
    assert rule.remembers(group) == bool(momentum)
    assert (rule.memory(p, group) is not None) == bool(momentum)
    assert rule.linear(p, group, torch.ones(2), None).carry == (momentum or None)
