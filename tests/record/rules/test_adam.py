"""Adam's split, worked by hand for a scalar."""

from __future__ import annotations

import math

import pytest
import torch

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

torch.set_num_threads(1)
LR, B1, B2, EPS = 0.1, 0.9, 0.99, 1e-3


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_two_tasks_for_three_steps(name: str, decay: float, amsgrad: bool) -> None:
    p = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    make = getattr(torch.optim, name)
    options = {"lr": LR, "betas": (B1, B2), "eps": EPS, "weight_decay": decay, "amsgrad": amsgrad}
    attributor = Attributor(make([p], **options))
    theta, v, highest = 1.5, 0.0, 0.0
    m = {"a": 0.0, "b": 0.0, "decay": 0.0}
    for t, gradients in enumerate([{"a": 2.0, "b": -0.5}, {"a": -0.1, "b": 0.3}, {"a": 0.0, "b": 0.01}], start=1):
        coupled = decay * theta if name == "Adam" else 0.0
        for part, g in {**gradients, "decay": coupled}.items():
            m[part] = B1 * m[part] + (1 - B1) * g
        v = B2 * v + (1 - B2) * (sum(gradients.values()) + coupled) ** 2
        highest = max(v, highest)
        denominator = math.sqrt((highest if amsgrad else v) / (1 - B2**t)) + EPS
        expected = {part: -LR / (1 - B1**t) * value / denominator for part, value in m.items()}
        if name == "AdamW":
            expected["decay"] = -LR * decay * theta

        tasks = {task: torch.tensor([g], dtype=torch.float64) for task, g in gradients.items()}
        p.grad = sum(tasks.values(), torch.zeros(1, dtype=torch.float64))
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit(tasks)})[p]
        assert split.tasks["a"].item() == pytest.approx(expected["a"], rel=1e-12)
        assert split.tasks["b"].item() == pytest.approx(expected["b"], rel=1e-12)
        assert (0.0 if split.decay is None else split.decay.item()) == pytest.approx(expected["decay"], rel=1e-12)
        theta += sum(expected.values())
        assert p.item() == pytest.approx(theta, rel=1e-12)


def test_running_average_of_the_task_gradients_over_the_shared_denominator() -> None:
    """AdaTask, Eq. 2 and 3 for Adam: equal and opposite tasks move the parameter by equal and opposite amounts."""
    p = torch.zeros(4, requires_grad=True)
    attributor = Attributor(torch.optim.Adam([p], lr=LR))
    g = torch.tensor([1.0, -2.0, 3.0, 0.0])
    p.grad = torch.tensor([0.1, 0.1, 0.1, 0.1])
    attributor.before_step([p])
    attributor.optimizer.step()
    split = attributor.after_step({p: GradientSplit({"a": g, "b": -g}, residual=p.grad)})[p]
    assert torch.equal(split.tasks["a"], -split.tasks["b"])
    assert split.residual is not None
    assert split.residual == pytest.approx(torch.full((4,), -LR), rel=1e-4)
