"""Adam's split, worked by hand for a scalar."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from dominance.record.rules.adam import AdamRule
from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

torch.set_num_threads(1)
LR, B1, B2, EPS = 0.1, 0.9, 0.99, 1e-3
Asked = list[tuple[torch.Tensor, Any]]


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


def stepped(
    dtype: torch.dtype = torch.float32, **options: Any
) -> tuple[torch.optim.Adam, list[tuple[torch.Tensor, Any]]]:
    """Two small parameters after three steps, of two groups, and their optimizer."""
    parameters = [torch.linspace(1, 2, n, dtype=dtype).requires_grad_() for n in (3, 5)]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.1, 0.2), strict=True)]
    optimizer = torch.optim.Adam(groups, weight_decay=0.1, **options)
    for step in range(3):
        for p in parameters:
            p.grad = p.detach() * (step - 0.5)
        optimizer.step()
    asked = [(p, group) for p, group in zip(parameters, optimizer.param_groups, strict=True)]
    return optimizer, asked


@pytest.mark.parametrize("amsgrad", [False, True])
def test_several_at_once_are_as_one_by_one(amsgrad: bool) -> None:
    optimizer, asked = stepped(amsgrad=amsgrad)
    rule = AdamRule(optimizer)
    together = rule.several(asked)
    assert together is not None
    for (p, group), found in zip(asked, together, strict=True):
        alone = rule.linear(p, group, p.detach(), None)
        assert isinstance(found.scale, torch.Tensor)
        assert isinstance(alone.scale, torch.Tensor)
        assert torch.equal(found.scale, alone.scale)
        assert dataclasses.replace(found, scale=0.0) == dataclasses.replace(alone, scale=0.0)


def test_what_cannot_be_asked_at_once() -> None:
    for optimizer, asked in (stepped(torch.float64), stepped(torch.bfloat16)):
        assert AdamRule(optimizer).several(asked) is None
    optimizer, asked = stepped()
    for name in ("capturable", "differentiable"):
        (p, _), (q, group) = asked
        assert AdamRule(optimizer).several([(p, {**asked[0][1], name: True}), (q, group)]) is None
