from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.gcd import gcd


@pytest.mark.parametrize(
    ("one", "other", "degree"),
    [
        ((1, 0), (2, 0), 0),
        ((1, 0), (0, 3), 1),
        ((1, 0), (-5, 0), 2),
        ((1, 0), (1, 1), 1 - 2**-0.5),
        ((3, 4), (4, -3), 1),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-100, 1e100])
def test_by_hand(one: tuple[int, int], other: tuple[int, int], degree: float, scale: float) -> None:
    g = np.array([one, other]) * np.array([[scale], [1.0]])
    found = gcd(g @ g.T)
    assert found[0, 1] == found[1, 0] == pytest.approx(degree, abs=1e-12)


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=5))
@settings(deadline=None)
def test_is_one_less_the_cosine_for_every_pair(gradients: list[list[int]]) -> None:
    g = np.array(gradients, dtype=float)
    found = gcd(g @ g.T)
    for i, one in enumerate(gradients):
        for j, other in enumerate(gradients):
            if i == j or not any(one) or not any(other):
                assert np.isnan(found[i, j])
            else:
                cosine = (
                    sum(a * b for a, b in zip(one, other, strict=True))
                    / math.dist(one, [0] * 3)
                    / math.dist(other, [0] * 3)
                )
                assert found[i, j] == pytest.approx(1 - cosine, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_has_no_angle(bad: float) -> None:
    gram = np.array([[bad, bad, bad], [bad, 1.0, 0.5], [bad, 0.5, 1.0]])
    found = gcd(gram)
    assert np.isnan(found[0]).all()
    assert np.isnan(found[:, 0]).all()
    assert found[1, 2] == pytest.approx(0.5)


def test_each_gram_matrix_of_many_is_taken_by_itself() -> None:
    g = np.random.default_rng(0).standard_normal((4, 3, 2, 5))  # step, layer, task, coordinate
    found = gcd(g @ np.swapaxes(g, -1, -2))
    for step in range(4):
        for layer in range(3):
            np.testing.assert_array_equal(found[step, layer], gcd(g[step, layer] @ g[step, layer].T))


def test_rounding_does_not_lead_outside() -> None:
    assert gcd(np.array([[1.0, 1.0 + 1e-15], [1.0 + 1e-15, 1.0]]))[0, 1] == 0


@pytest.mark.parametrize("square", [0.0, np.inf])
def test_a_length_that_is_lost_has_no_angle(square: float) -> None:
    """The square of a length may vanish or overflow where the inner product with a shorter or longer one does not."""
    assert np.isnan(gcd(np.array([[square, 1e-170], [1e-170, 1.0]]))).all()
