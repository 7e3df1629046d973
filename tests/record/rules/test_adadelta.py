"""Adadelta's split, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import torch
from record.rules.scalar import assert_equal, recorded_parts, worked


def test_by_hand() -> None:
    lr, rho, eps, decay = 0.7, 0.8, 1e-3, 0.2
    seen = {"v": 0.0, "a": 0.0}

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        inputs = {**gradients, "decay": decay * theta}
        u = sum(inputs.values())
        seen["v"] = rho * seen["v"] + (1 - rho) * u**2
        rate = math.sqrt(seen["a"] + eps) / math.sqrt(seen["v"] + eps)
        seen["a"] = rho * seen["a"] + (1 - rho) * (rate * u) ** 2
        return {part: -lr * rate * value for part, value in inputs.items()}

    options: dict[str, Any] = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": decay}
    assert_equal(recorded_parts(lambda p: torch.optim.Adadelta(p, **options)), worked(step))
