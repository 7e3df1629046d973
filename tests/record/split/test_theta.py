"""What moved the parameters outside of optimizers' steps, exactly; nothing where nothing did."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dominance.record.split.theta import Theta, unmoved


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


def table() -> tuple[Tensor, Theta]:
    """Of 1000 rows, of which those are looked at that a step holds, and a few others."""
    p, theta = torch.arange(2000.0).view(1000, 2).requires_grad_(), Theta()
    theta.by_rows.add(p)
    theta.begin([p])
    return p, theta


ROWS = torch.tensor([3, 700])


@torch.no_grad()
def step_rows(theta: Theta, p: Tensor, by: float) -> bool:
    theta.before_step([p], {p: ROWS})
    p[ROWS] += by
    return theta.after_step([p])


def test_rows_of_a_table_that_are_stepped_alone() -> None:
    for by in (0.5, 0.0):
        p, theta = table()
        assert step_rows(theta, p, by) == bool(by)
        assert list(theta.outside()) == []


def test_rows_of_a_table_that_move_before_and_after_their_step() -> None:
    p, theta = table()
    p.data[ROWS] += 2
    step_rows(theta, p, 0.5)
    p.data[ROWS] += 0.25
    ((which, moved, taken, rows),) = theta.outside()
    assert which is p
    assert rows is ROWS
    assert (moved.tolist(), taken.tolist()) == ([[2.25, 2.25]] * 2, [[0.5, 0.5]] * 2)
    theta.next(keep=True)
    theta.begin([p])
    step_rows(theta, p, 0.5)
    assert list(theta.outside()) == [], "what moved then is in the start of the next step"


def test_a_swap_of_a_whole_table_is_seen_beside_the_step_of_some_rows() -> None:
    p, theta = table()
    step_rows(theta, p, 0.5)
    p.data += 1
    ((_, moved, taken, rows),) = theta.outside()
    assert rows is None
    assert torch.equal(moved, torch.ones(1000, 2))
    assert torch.equal(taken, torch.zeros(1000, 2).index_fill(0, ROWS, 0.5))


def test_a_table_that_no_step_holds_and_that_stays() -> None:
    p, theta = table()
    assert not theta.after_step([p])
    assert list(theta.outside()) == []
    p.data -= 1
    ((_, moved, taken, _),) = theta.outside()
    assert torch.equal(moved, -torch.ones(1000, 2))
    assert not taken.any()


def test_another_shape_or_dtype_is_another_value() -> None:
    assert unmoved(leaf(1, 1), torch.ones(2))
    for other in (torch.ones(3), torch.ones(1), torch.ones(2, dtype=torch.float64)):
        assert not unmoved(leaf(1, 1), other)
