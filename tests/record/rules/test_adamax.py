"""Adamax's split, worked by hand."""

from __future__ import annotations

from typing import Any

import torch
from record.rules.scalar import assert_equal, recorded_parts, worked


def test_by_hand() -> None:
    lr, beta1, beta2, eps, decay = 0.1, 0.8, 0.9, 1e-3, 0.2
    seen = {"norm": 0.0}
    m = {"a": 0.0, "b": 0.0, "decay": 0.0}

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        inputs = {**gradients, "decay": decay * theta}
        seen["norm"] = max(beta2 * seen["norm"], abs(sum(inputs.values())) + eps)
        for part, u in inputs.items():
            m[part] = beta1 * m[part] + (1 - beta1) * u
        return {part: -lr / (1 - beta1**t) * value / seen["norm"] for part, value in m.items()}

    options: dict[str, Any] = {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": decay}
    assert_equal(recorded_parts(lambda p: torch.optim.Adamax(p, **options)), worked(step))
