"""AdaTaskAdam: two steps by hand, and torch.optim.Adam with one task."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from optim.parents import Named, same_steps

from dominance.optim import AdaTaskAdam, TaskGradients

torch.set_num_threads(1)


def test_two_steps_by_hand() -> None:
    p = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = AdaTaskAdam([p], lr=0.1, betas=(0.5, 0.75), eps=0.0)

    def step(a: float, b: float) -> None:
        rows = [[torch.tensor([a], dtype=torch.float64)], [torch.tensor([b], dtype=torch.float64)]]
        optimizer.step(TaskGradients(("a", "b"), (p,), rows, (torch.tensor(0.0),) * 2, (True,)))

    step(2.0, -100.0)  # each task moves by lr, against the sign of its gradient
    assert p.item() == pytest.approx(1.0 - 0.1 + 0.1, abs=1e-15)
    step(4.0, -100.0)
    # a: m = 0.5 * 1 + 0.5 * 4 = 2.5, of which 1 - 0.25 is there; G = 0.75 * 1 + 0.25 * 16 = 4.75, of which 1 - 0.5625
    move = 0.1 * (2.5 / 0.75) / math.sqrt(4.75 / 0.4375)
    assert p.item() == pytest.approx(1.0 - move + 0.1, abs=1e-15)


def torch_adam(named: Named, decoupled_weight_decay: bool = False, **options: Any) -> torch.optim.Optimizer:
    """AdamW is Adam whose weight decay is decoupled; older torch has no such option of Adam."""
    return (torch.optim.AdamW if decoupled_weight_decay else torch.optim.Adam)([p for _, p in named], **options)


@pytest.mark.parametrize(("foreach", "dtype"), [(True, torch.float32), (False, torch.float64)])
def test_one_task_takes_a_thousand_steps_of_torch_to_the_bit(foreach: bool, dtype: torch.dtype) -> None:
    options: dict[str, Any] = {**{"weight_decay": 0.1, "amsgrad": True}, "foreach": foreach}
    same_steps(partial(AdaTaskAdam, **options), partial(torch_adam, **options), dtype, 1000)


@pytest.mark.parametrize("foreach", [True, False, None])
@pytest.mark.parametrize("granularity", ["parameter", "layer"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"amsgrad": True},
        {"lr": 0.1, "betas": (0.0, 0.5), "eps": 0.1},
    ],
    ids=["plain", "decay", "decoupled", "amsgrad", "numbers"],
)
def test_with_each_option_one_task_takes_the_steps_of_torch_to_the_bit(
    options: dict[str, Any], granularity: Any, foreach: bool | None
) -> None:
    options = {**options, "foreach": foreach}
    same_steps(
        partial(AdaTaskAdam, granularity=granularity, **options), partial(torch_adam, **options), torch.float32, 60
    )
