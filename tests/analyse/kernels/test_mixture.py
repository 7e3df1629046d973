"""Formulas for the weights of a mixture, against what they were derived from."""

from __future__ import annotations

import numpy as np
import pytest

from dominance.analyse.kernels.mixture import best_step, conflict_and_alignment, dga, moments, pike


def test_moments_are_means_over_pairs_and_single_examples() -> None:
    """Examples one by one: of different batches for |∇L|², of one batch beside itself for σ²."""
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((count, 5)) + 0.3 for count in (1, 4, 0, 2)]
    sums = np.array([batch.sum(axis=0) for batch in batches])
    counts = np.array([len(batch) for batch in batches], dtype=float)
    squared, variance = moments((sums.sum(axis=0) ** 2).sum(), (sums**2).sum(), counts.sum(), (counts**2).sum())  # type: ignore[arg-type]
    pairs = [x @ y for s, one in enumerate(batches) for t, other in enumerate(batches) if s != t
             for x in one for y in other]  # fmt: skip
    assert squared == pytest.approx(np.mean(pairs))
    within = sum(u @ u - n**2 * np.mean(pairs) for u, n in zip(sums, counts, strict=True))
    assert variance == pytest.approx(within / 7)


def test_moments_have_no_bias() -> None:
    """Gradients (2, 0, ...) with variance 1 in each of 4 directions, in batches of 1 to 5 examples."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 6, (4000, 6)).astype(float)
    sums = counts[..., None] * np.array([2.0, 0, 0, 0]) + np.sqrt(counts)[..., None] * rng.standard_normal((4000, 6, 4))
    found = moments(
        (sums.sum(axis=1) ** 2).sum(axis=1), (sums**2).sum(axis=(1, 2)), counts.sum(axis=1), (counts**2).sum(axis=1)
    )
    for values, truth in zip(found, (4.0, 4.0), strict=True):
        assert abs(values.mean() - truth) < 4 * values.std() / 4000**0.5


def test_one_batch_tells_nothing() -> None:
    found = moments(*np.array([[4.0], [4.0], [3.0], [9.0]]))
    assert np.isnan(found).all()


LENGTHS, NOISE, BATCH = np.array([4.0, 1.0, 0.25]), np.array([1.0, 30.0, 0.0]), 8.0


def expected_loss(w: np.ndarray, rate: float) -> float:
    """After an SGD step on Σ θ_k²/2 with w_k b samples of each: a coordinate for each task (c = c̄ = 0, L = 1).

    As Example 2.1 of the paper, with noise of variance σ_k² spread over the coordinates.
    """
    moved = (1 - rate * w) ** 2 * LENGTHS
    return float(moved.sum() + rate**2 * (w * NOISE).sum() / BATCH) / 2


def slopes(w: np.ndarray, rate: float) -> np.ndarray:
    small = 1e-5
    ends = [[expected_loss(w + sign * small * side, rate) for sign in (1, -1)] for side in np.eye(3)]
    return np.array([(up - down) / (2 * small) for up, down in ends])


def test_pike_is_mirror_descent_on_the_loss_after_a_step() -> None:
    """Its update drops the term in w_k |∇L_k|², which vanishes for small shares; the slope there is the whole rule."""
    rate = 0.4
    w = np.array([0.2, 0.3, 0.5])
    descent = -slopes(np.zeros(3), rate) / rate
    expected = w * np.exp(descent / LENGTHS.mean())
    found = pike(w, LENGTHS, NOISE, np.array(BATCH), np.array(rate))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-6)


def test_the_best_step_is_where_the_loss_falls_most() -> None:
    w = np.array([0.2, 0.3, 0.5])
    rates = np.linspace(0, 3, 30_001)
    best = rates[np.argmin([expected_loss(w, rate) for rate in rates])]
    assert best_step(w, LENGTHS, NOISE, np.array(BATCH)) == pytest.approx(best, abs=2e-4)


def test_dga_is_mirror_descent_on_the_loss_of_the_target() -> None:
    """The slope of a target's loss along the weights, after a plain gradient step of the mixture."""
    rng = np.random.default_rng(2)
    matrix, theta, ends = rng.standard_normal((3, 4, 4)), rng.standard_normal(4), rng.standard_normal((3, 4))

    def loss(k: int, at: np.ndarray) -> float:
        return float(((matrix[k] @ (at - ends[k])) ** 2).sum() / 2)

    gradients = np.stack([matrix[k].T @ matrix[k] @ (theta - ends[k]) for k in range(3)])
    small, target = 1e-6, 1
    slope = np.array([(loss(target, theta - small * g) - loss(target, theta)) / small for g in gradients])
    w = np.array([0.5, 0.3, 0.2])
    expected = w * np.exp(-slope / np.abs(slope).mean())
    found = dga(w, gradients @ gradients[target])
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-4)


def test_the_unit_of_the_gradients_and_the_order_of_groups_change_nothing() -> None:
    w, order = np.array([0.2, 0.3, 0.5]), [2, 0, 1]
    b, step = np.array(BATCH), np.array(0.7)
    first = pike(w, LENGTHS, NOISE, b, step)
    np.testing.assert_allclose(pike(w, 1e6 * LENGTHS, 1e6 * NOISE, b, step), first)
    np.testing.assert_allclose(pike(w[order], LENGTHS[order], NOISE[order], b, step), first[order])
    np.testing.assert_allclose(dga(w, 1e-9 * LENGTHS), dga(w, LENGTHS))


def test_groups_that_are_alike_keep_their_shares() -> None:
    w, same = np.array([0.2, 0.3, 0.5]), np.full(3, 2.0)
    np.testing.assert_allclose(pike(w, same, same, np.array(4.0), np.array(1.0)), w)
    np.testing.assert_allclose(dga(w, same), w)


def test_what_is_not_known_is_not_known() -> None:
    w = np.array([0.5, 0.5])
    assert np.isnan(dga(w, np.array([1.0, np.nan]))).all()
    assert np.isnan(pike(w, np.array([-1.0, 0.0]), np.ones(2), np.array(4.0), np.array(1.0))).all()
    assert np.isnan(conflict_and_alignment(np.diag([1.0, -0.1]))).all()


def test_one_batch_tells_nothing_where_rounding_says_otherwise() -> None:
    found = moments(*np.array([[4.0 + 1e-15 * 4], [4.0], [3.0], [9.0]]))
    assert np.isnan(found).all()


def test_conflict_and_alignment_over_all_pairs() -> None:
    """c by its definition, tried on a grid; the cosine by hand."""
    rng = np.random.default_rng(4)
    gradients = rng.standard_normal((4, 3)) * np.array([[1.0], [3.0], [0.2], [1.5]])
    inner = gradients @ gradients.T
    pairs = [(inner[i, j], inner[i, i], inner[j, j]) for i in range(4) for j in range(i)]
    grid = np.linspace(0, 0.5, 50_001)
    least = next(c for c in grid if all(-c * (one + other) <= product for product, one, other in pairs))
    conflict, cosine = conflict_and_alignment(inner)
    assert conflict == pytest.approx(least, abs=2e-5)
    assert cosine == pytest.approx(max(product / one**0.5 / other**0.5 for product, one, other in pairs))


def test_of_several_windows_each_is_taken_by_itself() -> None:
    w, inner = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[3.0, 1.0], [-40.0, 10.0]])
    np.testing.assert_array_equal(dga(w, inner), [dga(*each) for each in zip(w, inner, strict=True)])
