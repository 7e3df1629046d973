"""Change points: against the cheapest of all partitions, found by trying them; how often noise is called a change."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dominance.analyse.kernels.change_points import change_points, nearest_split, noise


def cost(series: np.ndarray, starts: tuple[int, ...], variance: float, penalty: float) -> float:
    parts = np.split(series, starts)
    return sum(((part - part.mean(0)) ** 2).sum() for part in parts) / variance + penalty * len(starts)


@given(arrays(np.float64, (9, 2), elements=st.floats(-3, 3, width=32)))
@settings(deadline=None, max_examples=60)
def test_the_cheapest_of_all_partitions(series: np.ndarray) -> None:
    found = tuple(change_points(series, shortest=2, factor=0.5).tolist())
    variance, penalty = max(noise(series), 1e-6), 0.5 * 3 * np.log(9)
    ends = [starts for count in range(5) for starts in combinations(range(2, 8), count)]
    allowed = [starts for starts in ends if all(np.diff((0, *starts, 9)) >= 2)]
    best = min(cost(series, starts, variance, penalty) for starts in allowed)
    assert cost(series, found, variance, penalty) == pytest.approx(best, rel=1e-6, abs=1e-6) or len(found) == 0


def correlated(rng: np.random.Generator, rho: float, count: int = 200, components: int = 1) -> np.ndarray:
    x = np.zeros((count, components))
    for t in range(1, count):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(components)
    return 0.5 + 0.1 * x


@pytest.mark.parametrize(("rho", "most"), [(0.0, 1), (0.5, 4)])
def test_noise_is_no_change(rho: float, most: int) -> None:
    rng = np.random.default_rng(0)
    false = sum(len(change_points(correlated(rng, rho), shortest=5, least=0.1)) > 0 for _ in range(60))
    assert false <= most


def test_the_noise_of_correlated_points_is_that_of_their_mean() -> None:
    """Of n points of an AR(1) process the mean has variance σ² (1 + ρ) / (1 - ρ) / n."""
    series = correlated(np.random.default_rng(1), 0.6, 40_000, 50)
    assert noise(series) == pytest.approx(0.01 * 1.6 / 0.4, rel=0.1)


def test_two_changes_of_different_size() -> None:
    rng = np.random.default_rng(2)
    series = 0.2 + 0.05 * rng.standard_normal((150, 1))
    series[50:] += 0.3
    series[100:] += 0.12
    first, second = change_points(series, shortest=5).tolist()
    assert abs(first - 50) <= 1
    assert abs(second - 100) <= 4
    assert change_points(series, shortest=5, least=0.2).tolist() == [first]


def test_a_series_that_stays_and_one_that_is_too_short() -> None:
    assert len(change_points(np.ones((50, 2)))) == 0
    assert len(change_points(np.array([[0.0], [1.0]]))) == 0


def test_which_of_the_doubtful() -> None:
    zero, one = np.zeros(1), np.ones(1)
    assert nearest_split(zero, one, np.array([[0.9], [0.8]])) == 0
    assert nearest_split(zero, one, np.array([[0.2], [0.4]])) == 2


def test_three_points_may_hold_a_change() -> None:
    assert change_points(np.array([[0.0], [0.0], [5.0]]), shortest=1, factor=1e-3).tolist() == [2]
