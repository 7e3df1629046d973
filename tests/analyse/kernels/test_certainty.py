"""Probabilities from means and their standard errors, against scipy and formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dominance.analyse.kernels.certainty import jackknife_error, probability_above, stretches


def test_stretches_are_of_equal_length_and_leave_nan_out() -> None:
    values = np.array([[1.0, 5.0], [3.0, np.nan], [np.nan, 7.0], [8.0, 9.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(stretches(values, 2), [[2.0, 6.0], [8.0, 9.0]])
    np.testing.assert_array_equal(stretches(values, 5)[-1], [np.nan, np.nan])
    assert len(stretches(values, 50)) == 5


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    x = np.random.default_rng(0).standard_normal(12)
    apart = np.array([np.delete(x, i).mean() for i in range(12)])
    assert jackknife_error(apart) == pytest.approx(stats.sem(x), rel=1e-12)
    assert jackknife_error(np.append(apart, np.nan)) == pytest.approx(stats.sem(x), rel=1e-12)
    assert math.isnan(jackknife_error(apart[:1]))


@pytest.mark.parametrize("bound", [-3.0, 0.0, 0.9, 1.0, 4.0])
def test_probabilities_are_those_of_t(bound: float) -> None:
    assert probability_above(1.0, 0.4, bound, 8) == pytest.approx(stats.t.sf((bound - 1) / 0.4, 7), abs=1e-12)


def test_without_an_error_it_is_known_or_not() -> None:
    assert [probability_above(1.0, 0.0, b, 3) for b in (0.0, 1.0, 2.0)] == [1.0, 0.5, 0.0]
    assert math.isnan(probability_above(1.0, math.nan, 0.0, 3))
    assert math.isnan(probability_above(1.0, 0.1, 0.0, 1))
    assert math.isnan(probability_above(math.nan, 0.1, 0.0, 5))


def test_fewer_steps_than_stretches_are_a_stretch_each() -> None:
    assert stretches(np.array([7.0]), 5).tolist() == [7.0]


def test_on_the_bound_by_a_sum_that_is_exact() -> None:
    assert probability_above(0.25 + 0.25, 0.0, 1.5 - 1.0, 5) == 0.5
    assert probability_above(float(np.float64(0.5)), 0.0, float("0.5"), 5) == 0.5
