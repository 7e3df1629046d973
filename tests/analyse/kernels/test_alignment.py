from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.alignment import diff, similarity


@given(
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.sampled_from([1.0, 1e-120, 1e120]),
)
@settings(deadline=None, max_examples=60)
def test_cosine_of_gradient_and_descent(gradient: list[int], update: list[int], scale: float) -> None:
    g, u = np.array(gradient) * scale, np.array(update, dtype=float)
    found = similarity(np.array(g @ g), np.array(u @ u), np.array(g @ u))
    if not any(gradient) or not any(update):
        assert np.isnan(found)
    else:
        assert found == pytest.approx(-(np.array(gradient) @ u) / np.linalg.norm(gradient) / np.linalg.norm(u))


def test_what_is_not_finite_has_no_direction() -> None:
    one = np.ones(3)
    bad = np.array([np.nan, np.inf, 1.0])
    np.testing.assert_array_equal(similarity(bad, one, bad), [np.nan, np.nan, -1])
    np.testing.assert_array_equal(similarity(one, bad, bad), [np.nan, np.nan, -1])


def test_rounding_does_not_lead_outside() -> None:
    assert similarity(np.array(1.0), np.array(1.0), np.array(-1 - 1e-15)) == 1


def test_diff_by_hand() -> None:
    # PUB Table I, LS and MGDA: 2 * 0.014 / 0.246, 2 * 0.032 / 0.244
    found = diff(np.array([0.130, 0.138, -0.2]), np.array([0.116, 0.106, -0.1]))
    np.testing.assert_allclose(found, [0.113821, 0.262295, 2 / 3], rtol=1e-5)


def test_a_length_whose_square_vanished_has_no_direction() -> None:
    """|g|² below the smallest float64, g·Δθ above it."""
    found = similarity(np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([1e-170, -1e-170]))
    np.testing.assert_array_equal(found, [np.nan, np.nan])
