"""AdaTaskRMSprop: two steps by hand, and torch.optim.RMSprop with one task."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from optim.parents import Named, same_steps

from dominance.optim import AdaTaskRMSprop, TaskGradients

torch.set_num_threads(1)


def test_two_steps_by_hand() -> None:
    p = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = AdaTaskRMSprop([p], lr=0.1, alpha=0.75, eps=1.0)

    def step(a: float, b: float) -> None:
        rows = [[torch.tensor([a], dtype=torch.float64)], [torch.tensor([b], dtype=torch.float64)]]
        optimizer.step(TaskGradients(("a", "b"), (p,), rows, (torch.tensor(0.0),) * 2, (True,)))

    step(2.0, -8.0)  # G: 0.25 * 4 = 1, 0.25 * 64 = 16
    first = 1.0 - 0.1 * 2 / (1 + 1) + 0.1 * 8 / (4 + 1)
    assert p.item() == pytest.approx(first, abs=1e-15)
    step(1.0, 4.0)  # G: 0.75 * 1 + 0.25 * 1 = 1, 0.75 * 16 + 0.25 * 16 = 16
    assert p.item() == pytest.approx(first - 0.1 / (1 + 1) - 0.1 * 4 / (math.sqrt(16) + 1), abs=1e-15)


def torch_rmsprop(named: Named, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.RMSprop([p for _, p in named], **options)


@pytest.mark.parametrize(("foreach", "dtype"), [(True, torch.float32), (False, torch.float64)])
def test_one_task_takes_a_thousand_steps_of_torch_to_the_bit(foreach: bool, dtype: torch.dtype) -> None:
    options: dict[str, Any] = {**{"weight_decay": 0.1}, "foreach": foreach}
    same_steps(partial(AdaTaskRMSprop, **options), partial(torch_rmsprop, **options), dtype, 1000)


@pytest.mark.parametrize("foreach", [True, False, None])
@pytest.mark.parametrize("granularity", ["parameter", "layer"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"lr": 0.1, "alpha": 0.5, "eps": 0.1}],
    ids=["plain", "decay", "numbers"],
)
def test_with_each_option_one_task_takes_the_steps_of_torch_to_the_bit(
    options: dict[str, Any], granularity: Any, foreach: bool | None
) -> None:
    options = {**options, "foreach": foreach}
    same_steps(
        partial(AdaTaskRMSprop, granularity=granularity, **options),
        partial(torch_rmsprop, **options),
        torch.float32,
        60,
    )
