from __future__ import annotations

import numpy as np
import pytest

from dominance.analyse.kernels.sampling_error import share_error


def test_by_hand_one_stratum() -> None:
    # simple random sampling of n = 20 of N = 100, p = 1/2: sqrt((1 - n/N) p (1 - p) / (n - 1))
    found = share_error(np.array([10]), np.array([20]), np.array([20]), np.array([100.0]))
    assert found == pytest.approx(np.sqrt(0.8 * 0.25 / 19))


def test_strata_add_their_variances() -> None:
    # shares 1/2 in both strata: N_h = 100 and 300, n_h = 20 and 30
    found = share_error(np.array([10, 15]), np.array([20, 30]), np.array([20, 30]), np.array([100.0, 300.0]))
    truth = (0.25**2 * 0.8 * 0.25 / 19 + 0.75**2 * 0.9 * 0.25 / 29) ** 0.5
    assert found == pytest.approx(truth)


def test_nothing_sampled_away_is_no_error() -> None:
    assert share_error(np.array([[3, 1]]), np.array([4, 4]), np.array([5, 4]), np.array([5.0, 4.0]))[0] == 0


def test_nothing_touched_has_no_share_and_no_error() -> None:
    assert np.isnan(share_error(np.array([0]), np.array([0]), np.array([5]), np.array([50.0])))


def test_a_unanimous_sample_is_not_certain() -> None:
    found = share_error(np.array([100]), np.array([100]), np.array([100]), np.array([10_000.0]))
    assert found == pytest.approx(np.sqrt(0.99) / 100)


def test_a_lone_coordinate_takes_the_spread_of_the_others() -> None:
    sampled, population = np.array([1, 50]), np.array([40.0, 500.0])
    found = share_error(np.array([0, 25]), sampled, sampled, population)
    share = (10 * 25) / 540
    z = np.r_[np.full(25, 1 - share), np.full(25, -share)]
    spread = z.var(ddof=1)
    truth = np.sqrt(40**2 * (1 - 1 / 40) * spread + 500**2 * 0.9 * spread / 50) / 540
    assert found == pytest.approx(truth)
    alone = share_error(np.array([1, 0] * 4), np.ones(8, int), np.ones(8, int), np.full(8, 10.0))
    assert alone == pytest.approx(np.sqrt(8 * 10**2 * 0.9 * 0.25) / 80)


@pytest.mark.parametrize("touched_share", [1.0, 0.7])
@pytest.mark.parametrize("inside_share", [0.5, 0.9])
def test_monte_carlo(inside_share: float, touched_share: float) -> None:
    """The spread of the estimated share over 3,000 samples, and the mean of the error that each sample reports."""
    rng = np.random.default_rng(0)
    population, sampled = np.array([400, 1500, 100]), np.array([80, 150, 50])
    strata = []
    for h, size in enumerate(population):
        touched = rng.random(size) < touched_share
        strata.append((touched, touched & (rng.random(size) < inside_share - 0.2 * h)))
    inside, counted = np.zeros((2, 3000, 3), dtype=int)
    for h, (touched, hits) in enumerate(strata):
        drawn = np.argsort(rng.random((3000, population[h])), axis=1)[:, : sampled[h]]
        inside[:, h], counted[:, h] = hits[drawn].sum(axis=1), touched[drawn].sum(axis=1)
    weight = population / sampled
    estimates = (inside @ weight) / (counted @ weight)
    errors = share_error(inside, counted, sampled, population.astype(float))
    truth = sum(hits.sum() for _, hits in strata) / sum(touched.sum() for touched, _ in strata)
    assert abs(estimates.mean() - truth) < 0.1 * estimates.std()
    assert np.sqrt((errors**2).mean()) == pytest.approx(estimates.std(), rel=0.06)
    within = np.abs(estimates - truth) < 2 * errors
    assert 0.93 < within.mean() < 0.97


def test_a_population_that_is_no_multiple_of_the_sample() -> None:
    """One stratum, by the formula of simple random sampling: (1 - n / N) s² / n, of the touched."""
    n, population, inside = 30, 71, 10
    variance = inside * (n - inside) / n / (n - 1)
    expected = ((1 - n / population) * variance / n) ** 0.5
    found = share_error(np.array([inside]), np.array([n]), np.array([n]), np.array([float(population)]))
    assert found == pytest.approx(expected)


def test_of_several_shares_each_is_taken_by_itself() -> None:
    sampled, population = np.array([1, 20, 8]), np.array([50.0, 400.0, 30.0])
    touched, inside = np.array([[1, 20, 8], [1, 15, 2]]), np.array([[1, 3, 8], [0, 10, 1]])
    together = share_error(inside, touched, sampled, population)
    for found, ours, reached in zip(together, inside, touched, strict=True):
        assert found == pytest.approx(share_error(ours, reached, sampled, population))
