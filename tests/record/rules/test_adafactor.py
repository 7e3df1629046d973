"""Adafactor's split, worked by hand for a vector and against its factored second moment for a matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from record.rules.scalar import assert_equal, recorded_parts, worked

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit


def test_by_hand() -> None:
    lr, eps1, eps2, d, decay, exponent = 0.1, 1e-3, 1e-2, 1.5, 0.2, -0.8
    seen = {"v": 0.0}

    def step(t: int, theta: float, gradients: dict[str, float]) -> dict[str, float]:
        g = sum(gradients.values())
        seen["v"] = (1 - t**exponent) * seen["v"] + t**exponent * g**2
        alpha = max(eps2, abs(theta)) * min(lr, t**-0.5)
        below = max(seen["v"] ** 0.5, eps1)
        clip = max(1.0, abs(g / below) / d)
        return {**{task: -alpha * x / below / clip for task, x in gradients.items()}, "decay": -lr * decay * theta}

    options: dict[str, Any] = {"lr": lr, "eps": (eps1, eps2), "d": d, "weight_decay": decay, "beta2_decay": exponent}
    assert_equal(recorded_parts(lambda p: torch.optim.Adafactor(p, **options)), worked(step))


def test_matrix_on_its_first_step() -> None:
    """At t = 1 the moments are the row and column means of g^2; for g of rank one U = sign(g), not clipped."""
    g = torch.outer(torch.tensor([1.0, -2.0, 4.0]), torch.tensor([3.0, -0.5])).double()
    p = torch.full((3, 2), 2.0, dtype=torch.float64, requires_grad=True)
    attributor = Attributor(torch.optim.Adafactor([p], lr=0.1))
    p.grad = g.clone()
    attributor.before_step([p])
    attributor.optimizer.step()
    split = attributor.after_step({p: GradientSplit({"a": 0.75 * g, "b": 0.25 * g})})[p]
    alpha = 2.0 * 0.1  # RMS of theta times min(lr, 1)
    assert split.tasks["a"] == pytest.approx(-alpha * 0.75 * g.sign(), rel=1e-12)
    assert split.tasks["b"] == pytest.approx(-alpha * 0.25 * g.sign(), rel=1e-12)


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 3, 4)])
@pytest.mark.parametrize("d", [1.0, 1.5])
def test_the_parts_are_the_step_that_was_taken(shape: tuple[int, ...], d: float) -> None:
    """Where the size of the update is cut, too."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    attributor = Attributor(torch.optim.Adafactor([p], lr=0.1, d=d, weight_decay=0.1))
    for scale in (1.0, 30.0, 0.1):
        a, b = (scale * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        p.grad, before = a + b, p.detach().clone()
        attributor.before_step([p])
        attributor.optimizer.step()
        split = attributor.after_step({p: GradientSplit({"a": a, "b": b})})[p]
        assert split.decay is not None
        torch.testing.assert_close(split.tasks["a"] + split.tasks["b"] + split.decay, p.detach() - before)
        torch.testing.assert_close(split.tasks["a"] * b, split.tasks["b"] * a)
