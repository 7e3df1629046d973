"""What a gradient was multiplied by between backward() and step(), as far as it can be known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.record.split.rescaling import Factor, _by_products, factors, uniform


def found(*pairs: tuple[list[float], list[float]]) -> list[Factor]:
    """Of parameters whose gradients were left as the first and fed as the second."""
    parameters = [torch.zeros(len(left)) for left, _ in pairs]
    left = {p: torch.tensor(a) for p, (a, _) in zip(parameters, pairs, strict=True)}
    totals = {p: torch.tensor(b) for p, (_, b) in zip(parameters, pairs, strict=True)}
    return list(factors(totals, left).values())


def test_as_it_was() -> None:
    assert found(([1.0, 2.0], [1.0, 2.0])) == [1.0]


@pytest.mark.parametrize("factor", [0.5, -2.0, 1e-9, 1e9])
def test_a_multiple(factor: float) -> None:
    (one,) = found(([1.0, 2.0, -3.0], [factor, 2 * factor, -3 * factor]))
    assert one == pytest.approx(factor)


def test_changed_in_another_way() -> None:
    assert found(([1.0, 2.0, 3.0], [1.5, 2.0, 3.0])) == [None]


def test_one_number_is_a_multiple_of_any_other() -> None:
    """It takes a factor that a larger parameter has too: each layer may have one of its own."""
    assert found(([1.0, 2.0], [1.3, 1.1]), ([1.0], [5.0])) == [None, None]
    assert found(([1.0, 2.0], [3.0, 6.0]), ([1.0], [3.0])) == pytest.approx([3.0, 3.0])
    assert found(([1.0, 2.0], [3.0, 6.0]), ([1.0], [5.0]))[1] is None
    assert found(([1.0, 2.0], [3.0, 6.0]), ([1.0, 2.0], [5.0, 10.0]), ([1.0], [5.0])) == pytest.approx([3, 5, 5])
    assert found(([1.0], [5.0])) == [5.0], "alone, nothing speaks against it"


def test_one_number_has_a_factor_of_its_own_where_every_other_has() -> None:
    every = found(([1.0, 2.0], [3.0, 6.0]), ([1.0, 2.0], [5.0, 10.0]), ([2.0], [14.0]))
    assert every == pytest.approx([3, 5, 7])


def test_a_multiple_in_half_precision() -> None:
    """Every number is rounded by itself; noise is not mistaken for that."""
    p = torch.zeros(500, dtype=torch.bfloat16)
    before = torch.randn(500, generator=torch.Generator().manual_seed(0)).bfloat16()
    noise = 1e-3 * torch.randn(500, generator=torch.Generator().manual_seed(1))
    scaled, disturbed = ((before * 0.3).float(), (before + noise).bfloat16().float())
    assert factors({p: scaled}, {p: before.float()})[p] == pytest.approx(0.3, rel=1e-3)
    assert factors({p: disturbed}, {p: before.float()})[p] is None


def test_cut_to_a_largest_size() -> None:
    one, other = found(([3.0, 0.5, -4.0], [1.0, 0.5, -1.0]), ([-2.0], [-1.0]))
    assert isinstance(one, Tensor)
    torch.testing.assert_close(one, torch.tensor([1 / 3, 1.0, 1 / 4]))
    assert other == pytest.approx(0.5)


def test_masked() -> None:
    (one,) = found(([3.0, 0.5, -4.0, 1.0], [0.0, 0.5, 0.0, 1.0]))
    assert isinstance(one, Tensor)
    assert one.tolist() == [0, 1, 0, 1]


def test_noise_that_happens_to_shrink_is_no_clipping() -> None:
    assert found(([3.0, 0.5, -4.0], [2.0, 0.4, -1.0])) == [None]


def test_gradients_that_are_not_finite_keep_their_parts() -> None:
    assert found(([math.inf, 1.0], [math.nan, 1.0])) == [1.0]


def test_the_one_factor_of_all() -> None:
    assert uniform([]) == 1.0
    assert uniform([2.0, 2.00001, 2.0]) == pytest.approx(2.0)
    assert math.isnan(uniform([2.0, 3.0]))
    assert math.isnan(uniform([2.0, torch.ones(2)]))
    assert math.isnan(uniform([2.0, None]))


def test_out_of_nothing_comes_no_multiple() -> None:
    assert found(([0.0, 0.0], [1.0, 2.0])) == [None]


def test_of_a_gradient_of_another_shape_nothing_is_known() -> None:
    p = torch.zeros(2)
    assert factors({p: torch.ones(2)}, {p: torch.ones(3)}) == {p: 1.0}


@pytest.mark.parametrize("factor", [0.3, -2.0, 1e-6])
def test_by_products_as_by_the_numbers_themselves(factor: float) -> None:
    before = np.random.default_rng(0).standard_normal(50)
    across = np.roll(before, 1)
    for off, alike in ((0.0, True), (1e-6, True), (1e-3, False)):
        total = factor * (before + off * across)
        one = _by_products(float(total @ total), float(total @ before), float(before @ before))
        assert one == (pytest.approx(factor, rel=1e-4) if alike else None)


def test_products_that_tell_nothing() -> None:
    assert _by_products(0.0, 0.0, 1.0) is None
    assert _by_products(1.0, 0.0, 0.0) is None
    assert _by_products(math.inf, math.inf, 1.0) is None
    assert _by_products(1.0, math.inf, math.inf) is None
