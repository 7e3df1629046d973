from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dominance.analyse.kernels.resampling import (
    bca,
    block_bootstrap,
    bootstrap,
    jackknife,
    orders,
    percentile,
    permutation_p,
)


def singles(n: int) -> list[np.ndarray]:
    return [np.array([i]) for i in range(n)]


def test_the_seed_decides() -> None:
    x = np.random.default_rng(0).normal(size=9)
    one, same, other = (bootstrap(singles(9), lambda i: float(x[i].mean()), resamples=50, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_spread_is_that_of_the_mean() -> None:
    x = np.random.default_rng(0).normal(size=40)
    means = bootstrap(singles(40), lambda i: float(x[i].mean()), resamples=4000)
    assert means.std() == pytest.approx(x.std() / math.sqrt(40), rel=0.05)


def test_clusters_stay_together() -> None:
    cluster = np.repeat(np.arange(6), 5)
    groups = [np.flatnonzero(cluster == i) for i in range(6)]
    seen = []

    def look(index: np.ndarray) -> float:
        counts = np.bincount(cluster[index], minlength=6)
        seen.append((counts % 5 == 0).all())
        return 0.0

    bootstrap(groups, look, resamples=30)
    assert all(seen)


def test_blocks_are_neighbours_of_one_series() -> None:
    series = [np.arange(7), np.arange(7, 12)]

    def look(index: np.ndarray) -> float:
        assert len(index) == 12
        first, second = index[:7], index[7:]
        assert first.max() < 7 <= second.min()
        jumps = np.flatnonzero(np.diff(first) != 1) + 1
        assert set(jumps.tolist()) <= {3, 6}
        return 0.0

    block_bootstrap(series, 3, look, resamples=40)


def test_bca_is_scipys() -> None:
    x = np.random.default_rng(3).exponential(size=25)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="BCa", random_state=0).confidence_interval
    samples = bootstrap(singles(25), lambda i: float(x[i].mean()), resamples=20_000)
    low, high = bca(samples, float(x.mean()), jackknife(singles(25), lambda i: float(x[i].mean())))
    assert (low, high) == pytest.approx((theirs.low, theirs.high), rel=0.02)
    assert percentile(samples)[0] < low  # a mean of exponentials is skewed to the right


def test_all_samples_alike() -> None:
    assert bca(np.full(9, 2.0), 2.0, np.full(5, 2.0)) == (2, 2)
    assert all(math.isnan(limit) for limit in percentile(np.full(3, np.nan)))
    assert bca(np.array([1.0, 2.0, 3.0]), 0.0, np.array([])) == percentile(np.array([1.0, 2.0, 3.0]))


def test_few_orders_are_all_there() -> None:
    found, exact = orders([3, 2])
    assert exact
    assert len({tuple(tuple(order) for order in each) for each in found}) == 12
    found, exact = orders([9, 9], most=20)
    assert not exact
    assert len(list(found)) == 20


def test_permutation_p_is_fishers_for_small_samples() -> None:
    """All orders of a sample against another: the exact test of the difference of sums."""
    x, y = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 3.0, 2.0, 5.0])
    found, exact = orders([4])
    statistics = np.array([float((x * y[order]).sum()) for (order,) in found])
    theirs = stats.permutation_test(
        (y,), lambda y: (x * y).sum(), permutation_type="pairings", alternative="greater", n_resamples=np.inf
    )
    assert permutation_p(float((x * y).sum()), statistics, exact=exact) == pytest.approx(theirs.pvalue)


def test_nothing_to_exchange() -> None:
    assert math.isnan(permutation_p(math.nan, np.array([1.0]), exact=True))
    assert math.isnan(permutation_p(1.0, np.array([]), exact=True))
