from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dominance.analyse.kernels.t_test import joined, mean, student, welch


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_against_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=int(rng.integers(2, 12)))
    y = rng.normal(rng.normal(), rng.uniform(0.1, 5), size=int(rng.integers(2, 12)))
    for ours, equal in ((student(x, y), True), (welch(x, y), False)):
        theirs = stats.ttest_ind(x, y, equal_var=equal)
        assert ours.t == pytest.approx(theirs.statistic, rel=1e-10)
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)
        limits = theirs.confidence_interval(0.9)
        assert ours.interval(0.9) == pytest.approx((limits.low, limits.high), rel=1e-8)
    one = stats.ttest_1samp(x, 0)
    assert mean(x).t == pytest.approx(one.statistic, rel=1e-10)
    assert mean(x).p == pytest.approx(one.pvalue, rel=1e-9)


def test_too_few_values_are_not_a_guess() -> None:
    one, two = np.array([1.0]), np.array([1.0, 2.0])
    assert mean(one).value == 1
    assert math.isnan(mean(one).se)
    assert all(math.isnan(limit) for limit in mean(one).interval())
    assert math.isnan(welch(one, two).p)
    assert welch(one, two).value == -0.5
    assert math.isnan(student(one, one).p)
    assert student(one, two).dof == 1
    assert math.isnan(mean(np.array([])).value)
    assert math.isnan(student(one, np.array([])).value)


def test_no_spread() -> None:
    flat = np.array([1.0, 1.0, 1.0])
    assert student(flat + 1, flat).p == 0
    assert math.isnan(student(flat, flat).p)
    assert welch(flat, flat).interval() == (0, 0)


def test_parts_of_a_variance() -> None:
    found = joined(1.0, [(3.0, 2), (1.0, 4)])
    assert found.se == 2
    assert found.dof == pytest.approx(16 / (9 / 2 + 1 / 4))


def test_an_empty_sample_has_no_mean_to_differ_by() -> None:
    for test in (student, welch):
        for x, y in (([], [1.0, 2.0, 4.0]), ([1.0, 2.0, 4.0], [])):
            found = test(np.array(x), np.array(y))
            assert math.isnan(found.value)
            assert math.isnan(found.se)
