"""Tail probabilities against closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.special import chi_square_tail, t_quantile, t_tails


@settings(max_examples=40, deadline=None)
@given(statistic=st.floats(0, 500))
def test_chi_square_tail(statistic: float) -> None:
    assert chi_square_tail(statistic, 1) == pytest.approx(math.erfc(math.sqrt(statistic / 2)), rel=1e-11)
    assert chi_square_tail(statistic, 2) == pytest.approx(math.exp(-statistic / 2), rel=1e-11)
    assert chi_square_tail(statistic, 4) == pytest.approx(math.exp(-statistic / 2) * (1 + statistic / 2), rel=1e-11)


@settings(max_examples=40, deadline=None)
@given(statistic=st.floats(-60, 60))
def test_t_tails(statistic: float) -> None:
    t = abs(statistic)
    # stdtr moves in steps near 0: with one degree of freedom it is exactly 1/2 from |t| of about 7e-9 down
    assert t_tails(statistic, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-8)
    assert t_tails(statistic, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)
    assert t_tails(statistic, math.inf) == pytest.approx(math.erfc(t / math.sqrt(2)), rel=1e-11, abs=1e-300)


def test_small_tails_keep_their_digits() -> None:
    assert t_tails(1e6, 1) == pytest.approx(2 / math.pi * math.atan(1e-6), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(level=st.floats(0.01, 0.999), dof=st.floats(0.7, 500))
def test_t_quantile_is_where_the_tails_hold_the_rest(level: float, dof: float) -> None:
    # scipy 1.11 is off by 1.2e-8 here, 1.17 by less than 1e-9
    assert t_tails(t_quantile(level, dof), dof) == pytest.approx(1 - level, rel=1e-7)


def test_edges() -> None:
    assert t_tails(0.0, 3) == 1
    assert t_tails(math.inf, 3) == 0
    assert math.isnan(t_tails(math.nan, 3))
    assert math.isnan(t_tails(1.0, math.nan))
    assert math.isnan(t_quantile(0.95, math.nan))
    assert math.isnan(t_quantile(0.95, 0))
    assert math.isnan(chi_square_tail(math.nan, 1))
    assert (chi_square_tail(0.0, 1), chi_square_tail(-1e-9, 1), chi_square_tail(0.0, 3)) == (1, 1, 1)
