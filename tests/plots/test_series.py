"""Gaps, thinning, smoothing and ticks, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominance.plots import series


def test_thinning_keeps_both_ends():
    assert series.thin(5, 10).tolist() == [0, 1, 2, 3, 4]
    kept = series.thin(1000, 7)
    assert (kept[0], kept[-1], len(kept)) == (0, 999, 7)


def test_pieces_are_the_runs_between_gaps():
    found = series.pieces([0, 10, 20, 30, 40], [True, True, False, True, False])
    assert [(x.tolist(), index.tolist()) for x, index in found] == [([0, 10], [0, 1]), ([25, 35], [3, 3])]
    assert series.pieces([7], [True])[0][0].tolist() == [6.5, 7.5]
    assert series.pieces([1, 2], [False, False]) == []


def test_smoothing_is_the_mean_of_what_there_is():
    y = [1.0, 2.0, np.nan, 4.0, 6.0]
    np.testing.assert_allclose(series.smooth(y, 3), [1.5, 1.5, np.nan, 5.0, 5.0])
    np.testing.assert_allclose(series.smooth([3.0], 1), [3.0])


@pytest.mark.parametrize(
    ("x", "gaps"),
    [
        (np.arange(0, 300, 10), []),
        ([0, 1, 2, 3, 5, 6, 7], []),  # one was skipped
        ([0, 1, 2, 3, 7, 11, 15, 31, 47, 63], []),  # recorded ever more rarely
        ([0, 1, 2, 100, 101, 102, 200], [2, 5]),
        (np.concatenate([np.arange(1000), np.arange(1020, 2000)]), []),  # too narrow to be seen
        ([0, 500], []),
        ([7], []),
    ],
)
def test_a_gap_is_wide_for_where_it_is_and_on_the_axis(x, gaps):
    found, y = series.opened(x, np.vstack([np.zeros(len(x)), np.ones(len(x))]), 3)
    gone = np.isnan(y[0])
    assert gone.sum() == 3 * len(gaps)
    assert found[~gone].tolist() == list(x)
    assert y[1, ~gone].tolist() == [1.0] * len(x)
    assert np.all(np.diff(found) > 0)
    assert [int(np.searchsorted(x, place)) - 1 for place in found[gone][::3]] == gaps


def test_windows_are_odd():
    assert [series.window_of(n) for n in (1, 19, 40, 100)] == [1, 1, 3, 5]


def test_bins_keep_mean_and_extremes():
    x, mean, low, high = series.binned([0, 1, 2, 3], [1.0, 3.0, np.nan, np.nan], 2)
    np.testing.assert_allclose(x, [0.5, 2.5])
    np.testing.assert_allclose(mean, [2, np.nan])
    np.testing.assert_allclose((low[0], high[0]), (1, 3))


@pytest.mark.parametrize("count", [4, 5, 7, 9, 500])
def test_where_samples_are_binned_no_bin_has_a_single_one(count):
    x = np.arange(count, dtype=float)
    place, _, low, high = series.binned(x, x, 4)
    assert len(place) <= 4
    assert (low[0], high[-1]) == (0, count - 1)
    assert (high > low).all() == (count > 4)


def test_lone_samples():
    assert series.lone([1, np.nan, 2, 3, np.nan, 4]).tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("low", "high", "most", "whole", "ticks"),
    [
        (0, 100, 6, True, [0, 20, 40, 60, 80, 100]),
        (0, 3, 10, True, [0, 1, 2, 3]),
        (1, 2, 3, False, [1, 1.5, 2]),
        (0, 999, 3, True, [0, 500]),
        (5, 5, 4, False, [5]),
        (0.13, 0.14, 1, False, [0.14]),
    ],
)
def test_ticks_by_hand(low, high, most, whole, ticks):
    np.testing.assert_allclose(series.nice_ticks(low, high, most, whole=whole), ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_few_inside_and_even(low, length, most):
    high = low + length
    ticks = np.array(series.nice_ticks(low, high, most))
    assert 1 <= len(ticks) <= most
    assert (ticks >= low - 1e-6 * length).all()
    assert (ticks <= high + 1e-6 * length).all()
    if len(ticks) > 2:
        np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0], rtol=1e-6)


def test_log_ticks_are_decades():
    assert series.log_ticks(0.02, 300, 6) == [0.1, 1, 10, 100]
    assert len(series.log_ticks(1e-20, 1e20, 4)) <= 4
    assert series.log_ticks(2, 5, 4) == [2, 5]


@given(st.floats(1e-6, 1e9), st.integers(2, 6))
def test_labels_of_ticks_differ(length, most):
    ticks = series.nice_ticks(0, length, most)
    assert len(set(series.numbers(ticks))) == len(ticks)


def test_numbers():
    assert series.numbers([0, 5000, 10000]) == ["0", "5k", "10k"]
    assert series.numbers([0, 1000, 2000]) == ["0", "1000", "2000"]
    assert series.numbers([-0.5, 0, 0.5]) == ["-0.5", "0", "0.5"]
    assert series.numbers([1.25e6, 1.5e6]) == ["1.25M", "1.5M"]
    assert series.number(float("inf")) == "inf"


def test_a_single_step_has_a_width():
    assert series.span([4]) == (3.5, 4.5)
    assert series.span([4, 9]) == (4, 9)
