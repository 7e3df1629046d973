"""What scripts do to finished gradients: seen in what the change leaves alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dominance.record.split.changes import View, centred, factor_beneath, views

torch.set_num_threads(1)


def gradients() -> tuple[dict[Tensor, Tensor], list[Tensor]]:
    """Of a matrix, a kernel and a bias."""
    noise = torch.Generator().manual_seed(3)
    leaves = [torch.zeros(shape, requires_grad=True) for shape in ((4, 6), (3, 2, 3, 3), (5,))]
    return {p: torch.randn(p.shape, generator=noise) for p in leaves}, leaves


def clipped(total: Tensor, gradient: Tensor) -> Tensor:
    return gradient.clamp(-0.05, 0.05)


@pytest.mark.parametrize("change", [centred, clipped], ids=["centred", "clipped"])
@pytest.mark.parametrize("factor", [1.0, 0.125, -3.0])
def test_the_factor_beneath_a_change(change: View, factor: float) -> None:
    left, _ = gradients()
    fed = {p: change(p, factor * g) for p, g in left.items()}
    assert factor_beneath(fed, left) == pytest.approx(factor, rel=1e-5)


def test_a_mean_is_taken_over_all_dimensions_but_the_first() -> None:
    _, (matrix, kernel, bias) = gradients()
    for p in (matrix, kernel):
        found = centred(p, torch.arange(p.numel(), dtype=torch.float32).view_as(p))
        torch.testing.assert_close(found.flatten(1).sum(1), torch.zeros(len(p)))
    assert torch.equal(centred(bias, torch.arange(5.0)), torch.arange(5.0))


def test_other_changes_have_no_factor_beneath() -> None:
    left, _ = gradients()
    noise = torch.Generator().manual_seed(4)
    assert math.isnan(
        factor_beneath({p: g + 0.1 * torch.randn(g.shape, generator=noise) for p, g in left.items()}, left)
    )
    assert math.isnan(factor_beneath({p: g.square() for p, g in left.items()}, left))
    assert math.isnan(factor_beneath({p: g / (i + 1) for i, (p, g) in enumerate(left.items())}, left))


def test_one_largest_entry_is_no_bound() -> None:
    left, _ = gradients()
    assert list(views(left)) == []


def test_gradients_that_are_not_finite_look_like_nothing() -> None:
    left, (matrix, *_) = gradients()
    fed = left | {matrix: torch.full((4, 6), math.inf)}
    assert math.isnan(factor_beneath(fed, left))


def test_two_largest_entries_of_one_size_are_a_bound() -> None:
    left, (matrix, *_) = gradients()
    fed = left | {matrix: left[matrix].clone()}
    fed[matrix].view(-1)[:2] = torch.tensor([9.0, -9.0])
    (view,) = views(fed)
    kept = view(fed[matrix], left[matrix]).view(-1)
    assert kept[:2].tolist() == [0, 0]
    assert torch.equal(kept[2:], left[matrix].view(-1)[2:])
