from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dominance.analyse.kernels.correlation import kendall_w, partial, pearson, ranks, residuals

seeds = st.integers(0, 10_000)


def samples(seed: int, ties: bool, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 30))
    made = [rng.normal(size=n) * 10.0 ** rng.integers(-6, 6) for _ in range(count)]
    return [np.round(one / np.abs(one).max() * 3) for one in made] if ties else made


@settings(max_examples=60, deadline=None)
@given(seed=seeds, ties=st.booleans())
def test_against_scipy(seed: int, ties: bool) -> None:
    x, y = samples(seed, ties)
    np.testing.assert_allclose(ranks(x), stats.rankdata(x))
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
        assert pearson(ranks(x), ranks(y)) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_partial_is_the_correlation_of_residuals(seed: int) -> None:
    x, y, z = samples(seed, False, 3)
    expected = stats.pearsonr(residuals(x, z[:, None]), residuals(y, z[:, None])).statistic
    assert partial(x, y, z) == pytest.approx(expected, abs=1e-8)


def test_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert pearson(x, np.array([1.0, 3.0, 2.0])) == pytest.approx(0.5)
    assert pearson(ranks(x), ranks(np.array([1.0, 30.0, 2.0]))) == pytest.approx(0.5)
    # r_xy = 0.5, r_xz = 0, r_yz = 0.6 by construction: 0.5 / (1 * 0.8)
    basis = np.linalg.qr(np.column_stack([np.ones(4), np.eye(4)[:, :3]]))[0][:, 1:].T
    x, z, rest = basis
    assert partial(x, 0.5 * x + 0.6 * z + math.sqrt(0.39) * rest, z) == pytest.approx(0.625)


def test_what_does_not_vary_has_no_correlation() -> None:
    rounding = np.array([0.1 + 0.2, 0.3, 0.3])
    assert np.isnan(pearson(rounding, np.arange(3.0)))
    assert np.isnan(pearson(np.zeros(3), np.arange(3.0)))
    assert np.isnan(pearson(np.ones(1), np.ones(1)))
    assert np.isnan(partial(np.arange(3.0), np.array([1.0, 5.0, 2.0]), np.arange(3.0)))


def test_over_leading_dims() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 5, 8))
    together = pearson(ranks(x), ranks(y))
    assert together.shape == (3, 5)
    assert together[2, 1] == pearson(ranks(x[2, 1]), ranks(y[2, 1]))


@settings(max_examples=40, deadline=None)
@given(seed=seeds, ties=st.booleans())
def test_kendall_w_against_friedman(seed: int, ties: bool) -> None:
    """Friedman's statistic is m (n - 1) W, ties corrected."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (int(rng.integers(3, 7)), 4)).astype(float) if ties else rng.normal(size=(5, 4))
    found = kendall_w(scores)
    if math.isnan(found):
        assert (scores == scores[:, :1]).all()
        return
    assert found * len(scores) * 3 == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)


def test_rounding_does_not_lead_below_minus_one() -> None:
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 500, 6))
    found = partial(x, -3 * x, z)
    np.testing.assert_allclose(found, -1)
    assert (found >= -1).all()
