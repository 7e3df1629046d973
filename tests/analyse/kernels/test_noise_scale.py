from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.noise_scale import signal_and_noise, signal_to_noise, weighted_mean, windows


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(2, 6), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_windows_are_short_and_cover_all(gaps: list[int], most: int, span: int) -> None:
    steps = np.cumsum(gaps)
    code = windows(steps, most, span)
    assert code[0] == 0
    assert set(np.diff(code)) <= {0, 1}
    for window in range(code[-1] + 1):
        inside = steps[code == window]
        assert len(inside) <= most
        assert inside[-1] - inside[0] <= span
        after = steps[code == window + 1]
        if len(after):  # no room was left for it
            assert len(inside) == most or after[0] - inside[0] > span


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_mean_over_all_pairs_and_sample_variance(gradients: list[list[int]]) -> None:
    g = np.array(gradients, dtype=float)
    n = len(g)
    signal, noise = signal_and_noise(np.array((g.sum(axis=0) ** 2).sum()), np.array((g**2).sum()), np.array(n))
    pairs = [g[i] @ g[j] for i in range(n) for j in range(n) if i != j]
    assert signal == pytest.approx(np.mean(pairs), abs=1e-9)
    assert noise == pytest.approx(g.var(axis=0, ddof=1).sum(), abs=1e-9)


def test_unbiased() -> None:
    rng = np.random.default_rng(0)
    mean, spread = rng.standard_normal(20), rng.uniform(0.5, 2, 20)
    g = mean + spread * rng.standard_normal((4000, 5, 20))
    signal, noise = signal_and_noise((g.sum(axis=1) ** 2).sum(axis=1), (g**2).sum(axis=(1, 2)), np.array(5))
    assert signal.mean() == pytest.approx(mean @ mean, abs=4 * signal.std() / 4000**0.5)
    assert noise.mean() == pytest.approx((spread**2).sum(), abs=4 * noise.std() / 4000**0.5)


def test_one_gradient_says_nothing() -> None:
    signal, noise = signal_and_noise(np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.array([1, 0]))
    assert np.isnan([signal, noise]).all()


def test_weighted_mean_by_hand() -> None:
    x = np.array([[1.0, 5.0, 7.0], [4.0, 9.0, 7.0], [np.nan, 1.0, 7.0]])
    w = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    mean, error = weighted_mean(x, w)
    np.testing.assert_allclose(mean, [2, 5, np.nan])
    # 2/1 * ((2 * -1)² + (1 * 2)²) / 9, then the usual std / sqrt(n)
    np.testing.assert_allclose(error, [(2 * 8 / 9) ** 0.5, 4 / 3**0.5, np.nan])


def test_the_error_is_the_spread_of_the_mean() -> None:
    rng = np.random.default_rng(1)
    weight = np.broadcast_to(rng.integers(1, 5, 30).astype(float)[:, None], (30, 2000))
    mean, error = weighted_mean(rng.standard_normal((30, 2000)), weight)
    assert np.sqrt((error**2).mean()) == pytest.approx(mean.std(), rel=0.06)


def test_ratios() -> None:
    snr, scale = signal_to_noise(np.array([3.0, 0.0]), np.array([1.5, 2.0]))
    np.testing.assert_array_equal(snr, [2, 0])
    np.testing.assert_array_equal(scale, [0.5, np.inf])
