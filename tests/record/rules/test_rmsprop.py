"""RMSprop's split, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from record.rules.scalar import assert_equal, recorded_parts, worked


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
