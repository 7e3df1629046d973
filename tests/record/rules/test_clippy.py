"""ClippyAdam's split: the parts are Adam's, times the one factor of the tensor; worked by hand for two entries."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from dominance.optim import Clippy
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

torch.set_num_threads(1)
LR, B1, B2, EPS, REL, ABS = 0.5, 0.9, 0.99, 1e-3, 0.2, 0.05
GRADIENTS: list[dict[str, list[float]]] = [{"a": [2, 1], "b": [-0.5, 0.1]}, {"a": [-0.1, 3], "b": [0.3, 0]}]


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_two_tasks_for_three_steps(decay: float, decoupled: bool) -> None:
    p = torch.tensor([1.5, -0.1], dtype=torch.float64, requires_grad=True)
    options: dict[str, Any] = {
        "lr": LR,
        "betas": (B1, B2),
        "eps": EPS,
        "weight_decay": decay,
        "lambda_rel": REL,
        "lambda_abs": ABS,
    }
    attributor = Attributor(Clippy([p], decoupled_weight_decay=decoupled, **options))
    theta, v, clipped = [1.5, -0.1], [0.0, 0.0], 0
    m = {part: [0.0, 0.0] for part in ("a", "b", "decay")}
    for t, gradients in enumerate(GRADIENTS, start=1):
        coupled = [0.0 if decoupled else decay * x for x in theta]
        for part, g in {**gradients, "decay": coupled}.items():
            m[part] = [B1 * before + (1 - B1) * new for before, new in zip(m[part], g, strict=True)]
        fed = [gradients["a"][i] + gradients["b"][i] + coupled[i] for i in range(2)]
        v = [B2 * before + (1 - B2) * g**2 for before, g in zip(v, fed, strict=True)]
        scale = [-LR / (1 - B1**t) / (math.sqrt(x / (1 - B2**t)) + EPS) for x in v]
        moved = [x * (1 - LR * decay) if decoupled else x for x in theta]
        whole = [scale[i] * sum(part[i] for part in m.values()) for i in range(2)]
        sigma = min(1.0, *((REL * abs(moved[i]) + ABS) / abs(whole[i]) for i in range(2)))
        clipped += sigma < 1

        tasks = {task: torch.tensor(g, dtype=torch.float64) for task, g in gradients.items()}
        p.grad = tasks["a"] + tasks["b"]
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit(tasks)})[p]
        for task in ("a", "b"):
            expected = [sigma * scale[i] * m[task][i] for i in range(2)]
            torch.testing.assert_close(split.tasks[task], torch.tensor(expected, dtype=torch.float64))
        assert split.closure < 1e-12
        theta = p.tolist()
    assert clipped == 2, "the case is about clipped steps"
