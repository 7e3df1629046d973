"""Adagrad's split, worked by hand, and for sparse gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from record.rules.scalar import assert_equal, recorded_parts, worked


def test_by_hand() -> None:
    lr, lr_decay, eps, decay, start = 0.1, 0.5, 1e-3, 0.2, 0.3
    seen = {"sum": start}

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        inputs = {**gradients, "decay": decay * theta}
        seen["sum"] += sum(inputs.values()) ** 2
        rate = lr / (1 + (t - 1) * lr_decay)
        return {part: -rate * u / (math.sqrt(seen["sum"]) + eps) for part, u in inputs.items()}

    options: dict[str, Any] = {
        "lr": lr,
        "lr_decay": lr_decay,
        "eps": eps,
        "weight_decay": decay,
        "initial_accumulator_value": start,
    }
    assert_equal(recorded_parts(lambda p: torch.optim.Adagrad(p, **options)), worked(step))
