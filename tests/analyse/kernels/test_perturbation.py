from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dominance.analyse.kernels.perturbation import extreme, mean_interval, number_of, relative_change


def test_number() -> None:
    assert [number_of(0.01, n) for n in (1, 100, 149, 151, 1000)] == [1, 1, 1, 2, 10]
    assert number_of(1.0, 7) == 7


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=1, max_size=12), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_the_extreme_ones(shares: list[float], seed: int) -> None:
    """By definition: no chosen value is beaten by one that is not, and among equals the lowest lots are chosen."""
    values, lots = np.array(shares), np.random.default_rng(seed).random(len(shares))
    for number in range(1, len(shares) + 1):
        for highest in (True, False):
            chosen = extreme(values, number, lots, highest=highest)
            assert len(chosen) == number
            assert (np.diff(chosen) > 0).all()
            rest = np.setdiff1d(np.arange(len(values)), chosen)
            sign = 1 if highest else -1
            for inside in chosen:
                for outside in rest:
                    better = sign * (values[inside] - values[outside])
                    assert better > 0 or (better == 0 and lots[inside] < lots[outside])


def test_the_top_of_a_share_is_the_least_of_its_complement() -> None:
    rng = np.random.default_rng(0)
    values = rng.choice([0.0, 0.25, 0.5, 1.0], 50)
    lots = rng.random(50)
    np.testing.assert_array_equal(extreme(values, 10, lots, highest=True), extreme(1 - values, 10, lots, highest=False))


def test_relative_change_by_hand() -> None:
    found = relative_change(np.array([[3.0, 1.0], [-1.0, 5.0]]), np.array([2.0, -4.0]))
    np.testing.assert_allclose(found, [[0.5, 1.25], [-1.5, 2.25]])
    assert np.isnan(relative_change(np.array([1.0]), np.array([0.0]))).all()


@pytest.mark.parametrize("n", [2, 5, 30])
def test_the_interval_is_student_s(n: int) -> None:
    values = np.random.default_rng(n).standard_normal((3, n))
    mean, lower, upper = mean_interval(values)
    truth = stats.ttest_1samp(values, 0, axis=-1).confidence_interval(0.95)
    np.testing.assert_allclose(mean, values.mean(axis=-1))
    np.testing.assert_allclose([lower, upper], [truth.low, truth.high])


def test_one_value_has_no_interval() -> None:
    mean, lower, upper = mean_interval(np.array([[2.0]]))
    assert mean == 2
    assert np.isnan(lower).all()
    assert np.isnan(upper).all()


def test_change_of_a_small_metric() -> None:
    np.testing.assert_allclose(relative_change(np.array([0.6]), np.array([0.5])), [0.2])
