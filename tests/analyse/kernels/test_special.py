"""Tail probabilities against scipy, over everything a test of runs may ask for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from dominance.analyse.kernels.special import beta_lower, chi_square_tail, gamma_upper, t_quantile, t_tails

CLOSE = {"rel": 1e-11, "abs": 1e-13}
positive = st.floats(1e-3, 300)


@settings(max_examples=60, deadline=None)
@given(a=positive, x=st.floats(0, 600))
def test_gamma_upper(a: float, x: float) -> None:
    assert gamma_upper(a, x) == pytest.approx(special.gammaincc(a, x), rel=1e-11, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(a=positive, b=positive, x=st.floats(0, 1, allow_subnormal=False))
def test_beta_lower(a: float, b: float, x: float) -> None:
    assert beta_lower(a, b, x) == pytest.approx(special.betainc(a, b, x), rel=1e-10, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(statistic=st.floats(0, 500), dof=st.integers(1, 60))
def test_chi_square_tail(statistic: float, dof: int) -> None:
    assert chi_square_tail(statistic, dof) == pytest.approx(stats.chi2.sf(statistic, dof), rel=1e-11, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(statistic=st.floats(-60, 60), dof=st.floats(0.5, 2000))
def test_t_tails(statistic: float, dof: float) -> None:
    assert t_tails(statistic, dof) == pytest.approx(2 * stats.t.sf(abs(statistic), dof), rel=1e-10, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(level=st.floats(0.01, 0.999), dof=st.floats(0.7, 500))
def test_t_quantile(level: float, dof: float) -> None:
    assert t_quantile(level, dof) == pytest.approx(stats.t.ppf((1 + level) / 2, dof), rel=1e-8, abs=1e-10)


def test_small_tails_keep_their_digits() -> None:
    assert t_tails(50.0, 20) == pytest.approx(2 * stats.t.sf(50, 20), rel=1e-10)
    assert chi_square_tail(300.0, 1) == pytest.approx(stats.chi2.sf(300, 1), rel=1e-10)
    assert chi_square_tail(300.0, 4) == pytest.approx(stats.chi2.sf(300, 4), rel=1e-10)


def test_edges() -> None:
    assert t_tails(0.0, 3) == 1
    assert t_tails(math.inf, 3) == 0
    assert math.isnan(t_tails(math.nan, 3))
    assert math.isnan(t_quantile(0.95, math.nan))
    assert math.isnan(chi_square_tail(math.nan, 1))
    assert (chi_square_tail(0.0, 1), chi_square_tail(0.0, 3)) == (1, 1)
