from __future__ import annotations

import numpy as np
import pytest

from dominance.analyse.kernels.batch_means import batch_means


def test_by_hand() -> None:
    x = np.array([1.0, 3, 2, 2, 5, 7, 0, 0, np.inf, 4, 4])  # ten finite ones in four batches
    means = [np.mean([1, 3, 2]), np.mean([2, 5]), np.mean([7, 0, 0]), np.mean([4, 4])]
    mean, error, batches = batch_means(x)
    assert mean == pytest.approx(2.8)
    assert error == pytest.approx(np.std(means, ddof=1) / 2)
    assert batches == 4


@pytest.mark.parametrize(("count", "batches"), [(0, 0), (3, 0), (4, 4), (15, 4), (16, 4), (25, 5), (99, 9), (100, 10)])
def test_number_of_batches(count: int, batches: int) -> None:
    mean, error, found = batch_means(np.r_[np.arange(count, dtype=float), [np.nan] * 3])
    assert found == batches
    assert np.isnan(error) == (batches == 0)
    assert np.isnan(mean) == (count == 0)


def test_series_stand_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3, 2))
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:, 2, 1] = np.nan
    together = batch_means(x)
    for i, j in np.ndindex(3, 2):
        for whole, alone in zip(together, batch_means(x[:, i, j]), strict=True):
            np.testing.assert_allclose(whole[i, j], alone)


@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_is_the_spread_of_the_mean_of_correlated_series(memory: float) -> None:
    """x_t = memory x_{t-1} + noise; the usual std / √n is 2.4 times too small at 0.7."""
    rng = np.random.default_rng(0)
    x = np.zeros((600, 1000))
    state = rng.standard_normal(1000) / np.sqrt(1 - memory**2)
    for row in x:
        state = memory * state + rng.standard_normal(1000)
        row[:] = state
    mean, error, _ = batch_means(x)
    assert np.sqrt((error**2).mean()) == pytest.approx(mean.std(), rel=0.15)
    naive = x.std(axis=0).mean() / 600**0.5
    assert (naive < 0.6 * mean.std()) == (memory > 0)
