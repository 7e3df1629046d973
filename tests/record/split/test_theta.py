"""What moved the parameters outside of optimizers' steps, exactly; nothing where nothing did."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dominance.record.split.theta import Theta


def leaf(*values: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


@torch.no_grad()
def step(theta: Theta, p: Tensor, by: float) -> bool:
    theta.before_step([p])
    p.add_(by)
    return theta.after_step([p])


def outside(theta: Theta) -> list[tuple[list[float], list[float]]]:
    return [(moved.tolist(), taken.tolist()) for _, moved, taken, _ in theta.outside()]


def test_a_step_alone() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    assert step(theta, p, 0.5)
    assert outside(theta) == []


def test_pulled_back_after_the_step() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    step(theta, p, 0.5)
    p.data -= 0.25
    assert outside(theta) == [([-0.25, -0.25], [0.5, 0.5])]


def test_moved_between_backward_and_step() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    p.data += 2
    step(theta, p, 0.5)
    assert outside(theta) == [([2, 2], [0.5, 0.5])]


def test_disturbed_and_put_back_before_the_step() -> None:
    """As sharpness-aware minimisation does."""
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    theta.before_step([p])
    p.data += 3
    theta.before_step([p])
    p.data -= 3
    step(theta, p, 0.5)
    assert outside(theta) == []


def test_a_swap_that_is_undone_before_the_next_step_is_nothing() -> None:
    """Averaged weights for an evaluation."""
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    step(theta, p, 0.5)
    own = p.detach().clone()
    p.data.fill_(7)
    p.data.copy_(own)
    assert outside(theta) == []


def test_the_end_of_a_step_is_the_start_of_the_next() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    step(theta, p, 0.5)
    theta.next(keep=True)
    p.data += 1  # after the row was handed over
    theta.begin([p])
    step(theta, p, 0.5)
    assert outside(theta) == [([1, 1], [0.5, 0.5])]


def test_what_moved_while_nobody_recorded_is_in_no_step() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    step(theta, p, 0.5)
    theta.next(keep=False)
    p.data += 1
    theta.begin([p])
    step(theta, p, 0.5)
    assert outside(theta) == []


def test_a_step_that_moves_nothing() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    assert not step(theta, p, 0.0)


def test_a_training_that_diverged_is_not_moved_from_outside() -> None:
    p, theta = leaf(1, 2), Theta()
    theta.begin([p])
    step(theta, p, float("nan"))
    theta.next(keep=True)
    theta.begin([p])
    step(theta, p, 1.0)
    assert outside(theta) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_in_single_precision_at_least(dtype: torch.dtype) -> None:
    p, theta = leaf(1, 2, dtype=dtype), Theta()
    theta.begin([p])
    step(theta, p, 0.5)
    p.data += 1
    ((_, moved, taken, _),) = theta.outside()
    assert moved.dtype == taken.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
