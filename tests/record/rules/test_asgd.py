"""ASGD's split, worked by hand."""

from __future__ import annotations

from typing import Any

import torch
from record.rules.scalar import assert_equal, recorded_parts, worked


def test_by_hand() -> None:
    lr, lambd, alpha, decay = 0.125, 0.5, 0.75, 0.25

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        # the step t - 1 left this step size behind, in single precision
        eta = torch.tensor(lr / (1 + lambd * lr * (t - 1)) ** alpha if t > 1 else lr).item()
        return {**{task: -eta * g for task, g in gradients.items()}, "decay": -eta * (decay + lambd) * theta}

    options: dict[str, Any] = {"lr": lr, "lambd": lambd, "alpha": alpha, "weight_decay": decay}
    assert_equal(recorded_parts(lambda p: torch.optim.ASGD(p, **options)), worked(step))
