"""NAdam's split, worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from record.rules.scalar import assert_equal, recorded_parts, worked


@pytest.mark.parametrize("decoupled", [False, True])
def test_by_hand(decoupled: bool) -> None:
    lr, beta1, beta2, eps, decay, psi = 0.1, 0.8, 0.9, 1e-3, 0.2, 0.3
    seen = {"v": 0.0, "product": 1.0}
    m = {"a": 0.0, "b": 0.0, "decay": 0.0}

    def mu(t: int) -> float:
        return beta1 * (1 - 0.5 * 0.96 ** (t * psi))

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        inputs = {**gradients, "decay": 0.0 if decoupled else decay * theta}
        seen["v"] = beta2 * seen["v"] + (1 - beta2) * sum(inputs.values()) ** 2
        seen["product"] *= mu(t)
        root = math.sqrt(seen["v"] / (1 - beta2**t)) + eps
        parts = {}
        for part, u in inputs.items():
            m[part] = beta1 * m[part] + (1 - beta1) * u
            ahead = mu(t + 1) * m[part] / (1 - seen["product"] * mu(t + 1))
            parts[part] = -lr * (ahead + (1 - mu(t)) * u / (1 - seen["product"])) / root
        return {**parts, "decay": -lr * decay * theta} if decoupled else parts

    options: dict[str, Any] = {
        "lr": lr,
        "betas": (beta1, beta2),
        "eps": eps,
        "weight_decay": decay,
        "momentum_decay": psi,
    }
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # the product of the mu is kept in the default dtype
    try:
        made = recorded_parts(lambda p: torch.optim.NAdam(p, **options, decoupled_weight_decay=decoupled))
    finally:
        torch.set_default_dtype(default)
    assert_equal(made, worked(step))
