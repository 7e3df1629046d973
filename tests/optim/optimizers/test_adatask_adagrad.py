"""AdaTaskAdagrad: two steps by hand, and torch.optim.Adagrad with one task."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from optim.parents import Named, same_steps

from dominance.optim import AdaTaskAdagrad, TaskGradients

torch.set_num_threads(1)


def test_two_steps_by_hand() -> None:
    p = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = AdaTaskAdagrad([p], lr=0.1, lr_decay=1.0, eps=0.0)

    def step(a: float, b: float) -> None:
        rows = [[torch.tensor([a], dtype=torch.float64)], [torch.tensor([b], dtype=torch.float64)]]
        optimizer.step(TaskGradients(("a", "b"), (p,), rows, (torch.tensor(0.0),) * 2, (True,)))

    step(3.0, 600.0)
    assert p.item() == pytest.approx(0.8, abs=1e-15)
    step(4.0, -800.0)  # both G are now 5² of their unit; lr / 2
    assert p.item() == pytest.approx(0.8 - 0.05 * 4 / 5 + 0.05 * 4 / 5, abs=1e-15)


def torch_adagrad(named: Named, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.Adagrad([p for _, p in named], **options)


@pytest.mark.parametrize(("foreach", "dtype"), [(True, torch.float32), (False, torch.float64)])
def test_one_task_takes_a_thousand_steps_of_torch_to_the_bit(foreach: bool, dtype: torch.dtype) -> None:
    options: dict[str, Any] = {**{"weight_decay": 0.1, "lr_decay": 0.01}, "foreach": foreach}
    same_steps(partial(AdaTaskAdagrad, **options), partial(torch_adagrad, **options), dtype, 1000)


@pytest.mark.parametrize("foreach", [True, False, None])
@pytest.mark.parametrize("granularity", ["parameter", "layer"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1, "lr_decay": 0.01}, {"initial_accumulator_value": 0.5, "eps": 0.0}],
    ids=["plain", "decay", "start"],
)
def test_with_each_option_one_task_takes_the_steps_of_torch_to_the_bit(
    options: dict[str, Any], granularity: Any, foreach: bool | None
) -> None:
    options = {**options, "foreach": foreach}
    same_steps(
        partial(AdaTaskAdagrad, granularity=granularity, **options),
        partial(torch_adagrad, **options),
        torch.float32,
        60,
    )
