from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dominance.analyse.kernels.resampling import (
    block_bootstrap,
    bootstrap,
    correlation_interval,
    orders,
    permutation_p,
)


def singles(n: int) -> list[np.ndarray]:
    return [np.array([i]) for i in range(n)]


def test_the_seed_decides() -> None:
    x = np.random.default_rng(0).normal(size=9)
    one, same, other = (bootstrap(singles(9), lambda i: x[i].mean(axis=-1), resamples=50, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_spread_is_that_of_the_mean() -> None:
    x = np.random.default_rng(0).normal(size=40)
    means = bootstrap(singles(40), lambda i: x[i].mean(axis=-1), resamples=4000)
    assert means.std() == pytest.approx(x.std() / math.sqrt(40), rel=0.05)


def test_clusters_stay_together() -> None:
    cluster = np.repeat(np.arange(6), 5)
    groups = [np.flatnonzero(cluster == i) for i in range(6)]
    seen = []

    def look(places: np.ndarray) -> np.ndarray:
        for index in places:
            counts = np.bincount(cluster[index], minlength=6)
            seen.append((counts % 5 == 0).all())
        return np.zeros(len(places))

    bootstrap(groups, look, resamples=30)
    assert len(seen) == 30
    assert all(seen)


def test_clusters_of_several_sizes() -> None:
    groups = [np.array([0]), np.array([1, 2, 3])]
    sizes = bootstrap(groups, lambda i: np.full(len(i), i.shape[-1]), resamples=200)
    assert set(sizes) == {2, 4, 6}
    drawn = np.random.default_rng(0).integers(2, size=(200, 2))
    np.testing.assert_array_equal(sizes, np.array([1, 3])[drawn].sum(axis=1))  # in the order of drawing


def test_blocks_are_neighbours_of_one_series() -> None:
    series = [np.arange(7), np.arange(7, 12)]

    def look(places: np.ndarray) -> np.ndarray:
        assert places.shape == (40, 12)
        for index in places:
            first, second = index[:7], index[7:]
            assert first.max() < 7 <= second.min()
            jumps = np.flatnonzero(np.diff(first) != 1) + 1
            assert set(jumps.tolist()) <= {3, 6}
        return np.zeros(len(places))

    block_bootstrap(series, 3, look, resamples=40)


def test_a_block_begins_anywhere_that_it_fits() -> None:
    begins: set[int] = set()

    def look(places: np.ndarray) -> np.ndarray:
        begins.update(places[:, 0].tolist())
        return np.zeros(len(places))

    block_bootstrap([np.arange(7)], 3, look, resamples=300)
    assert begins == set(range(5))


@pytest.mark.parametrize("estimate", [1.0, -1.0])
def test_interval_of_a_correlation_that_is_whole(estimate: float) -> None:
    """Fisher's scale ends there; what spread the samples have still counts."""
    low, high = correlation_interval(estimate, estimate * np.linspace(0.9, 0.99, 100), 20)
    assert -1 <= low < high <= 1
    assert 0.999 < max(abs(low), abs(high)) <= 1
    assert min(abs(low), abs(high)) < 1


def test_interval_of_a_correlation_is_fishers_where_the_samples_spread_so() -> None:
    """Of n normal pairs artanh r has a standard deviation of about 1 / sqrt(n - 3)."""
    samples = np.tanh(np.random.default_rng(0).normal(0.4, 1 / math.sqrt(97), 50_000))
    found = correlation_interval(math.tanh(0.4), samples, 1e6)
    theirs = stats.pearsonr(*correlated(100, math.tanh(0.4))).confidence_interval()
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.005)
    wider = correlation_interval(math.tanh(0.4), samples, 3)
    assert wider[0] < found[0]
    assert found[1] < wider[1] < 1


def correlated(n: int, r: float) -> tuple[np.ndarray, np.ndarray]:
    """Two samples with exactly this correlation."""
    x, y = np.linalg.qr(np.column_stack([np.ones(n), np.random.default_rng(0).normal(size=(n, 2))]))[0][:, 1:].T
    return x, r * x + math.sqrt(1 - r * r) * y


def test_no_interval_without_samples() -> None:
    assert all(math.isnan(limit) for limit in correlation_interval(0.5, np.full(3, np.nan), 4))
    assert all(math.isnan(limit) for limit in correlation_interval(math.nan, np.array([0.1, 0.2]), 4))


def test_few_orders_are_all_there() -> None:
    found, exact = orders([3, 2])
    assert exact
    assert len({(*one, *other) for one, other in zip(*(each.tolist() for each in found), strict=True)}) == 12
    found, exact = orders([9, 8], most=20)
    assert not exact
    assert [each.shape for each in found] == [(20, 9), (20, 8)]
    np.testing.assert_array_equal(np.sort(found[1], axis=1), np.tile(np.arange(8), (20, 1)))
    assert len({tuple(row) for row in found[0].tolist()}) > 15


def test_permutation_p_is_fishers_for_small_samples() -> None:
    """All orders of a sample against another: the exact test of the difference of sums."""
    x, y = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 3.0, 2.0, 5.0])
    (found,), exact = orders([4])
    statistics = (x * y[found]).sum(axis=1)
    theirs = stats.permutation_test(
        (y,), lambda y: (x * y).sum(), permutation_type="pairings", alternative="greater", n_resamples=np.inf
    )
    assert permutation_p(float((x * y).sum()), statistics, exact=exact) == pytest.approx(theirs.pvalue)


def test_nothing_to_exchange() -> None:
    assert math.isnan(permutation_p(math.nan, np.array([1.0]), exact=True))
    assert math.isnan(permutation_p(1.0, np.array([]), exact=True))
