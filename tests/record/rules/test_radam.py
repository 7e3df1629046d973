"""RAdam's split, worked by hand, before and after its second moment can be trusted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from record.rules.scalar import assert_equal, recorded_parts, worked

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit


@pytest.mark.parametrize("beta2", [0.9, 0.01], ids=["never-rectified", "short-memory"])
def test_plain_momentum_while_the_average_is_short(beta2: float) -> None:
    lr, beta1, decay = 0.1, 0.8, 0.2
    m = {"a": 0.0, "b": 0.0, "decay": 0.0}

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        for part, u in {**gradients, "decay": decay * theta}.items():
            m[part] = beta1 * m[part] + (1 - beta1) * u
        return {part: -lr / (1 - beta1**t) * value for part, value in m.items()}

    options: dict[str, Any] = {"lr": lr, "betas": (beta1, beta2), "weight_decay": decay}
    assert_equal(recorded_parts(lambda p: torch.optim.RAdam(p, **options)), worked(step))


def test_rectified_after_the_fifth_step() -> None:
    """Constant gradients 3 and 1: m = (1 - beta1^t) g and v = (1 - beta2^t) 16, so delta_a = -lr r_t 3 / 4."""
    lr, beta2 = 0.1, 0.99
    p = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    attributor = Attributor(torch.optim.RAdam([p], lr=lr, betas=(0.9, beta2), eps=0.0))
    three, one = torch.tensor([[3.0], [1.0]], dtype=torch.float64)
    for t in range(1, 13):
        p.grad = three + one
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit({"a": three, "b": one})})[p]
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
            expected = -lr * r * 3 / 4
        else:
            expected = -lr * 3
        assert split.tasks["a"].item() == pytest.approx(expected, rel=1e-12)
        assert split.tasks["b"].item() == pytest.approx(expected / 3, rel=1e-12)
        assert (rho > 5) == (t >= 6)
