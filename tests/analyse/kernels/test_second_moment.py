from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dominance.analyse.kernels.second_moment import MomentRule, SecondMoment, closeness

FINITE = st.floats(-1e6, 1e6, width=32)


def after(rule: MomentRule, *gradients: float) -> SecondMoment:
    moment = SecondMoment(rule, (1,))
    for gradient in gradients:
        moment.take(np.array([gradient], dtype=np.float32))
    return moment


@pytest.mark.parametrize(
    ("rule", "truth"),
    [
        (MomentRule(eps=1.0), 0.6 / (5 + 1)),  # 9 + 16
        (MomentRule(eps=1.0, start=11.0), 0.6 / (6 + 1)),
        (MomentRule(eps=1.0, rate_decay=0.5), 0.6 / 1.5 / (5 + 1)),
        (MomentRule(eps=0.0, decay=0.5), 0.6 / np.sqrt(10.25)),  # 0.5 * 4.5 + 8
        (MomentRule(eps=0.5, decay=0.5, corrected=True), 0.6 / (np.sqrt(10.25 / 0.75) + 0.5)),
        (MomentRule(eps=0.5, decay=0.5, centered=True), 0.6 / (np.sqrt(10.25 - 2.75**2) + 0.5)),  # mean: 0.75 + 2
    ],
)
def test_by_hand(rule: MomentRule, truth: float) -> None:
    assert after(rule, 3.0, 4.0).rate(0.6) == pytest.approx(truth, rel=1e-14)


def test_a_spread_that_is_rounding_alone_is_none() -> None:
    """Of a gradient that stays as it is, G - mean² comes out below 0 for some."""
    moment = SecondMoment(MomentRule(eps=1.0, decay=0.9, centered=True), (200,))
    gradient = np.random.default_rng(0).random(200)
    for _ in range(500):
        moment.take(gradient)
    assert (moment.square - moment.mean**2).min() < 0
    np.testing.assert_allclose(moment.rate(0.1), 0.1, rtol=1e-6)


def test_the_maximum_of_amsgrad() -> None:
    rule = MomentRule(eps=0.0, decay=0.5, corrected=True, highest=True)
    # averages 8, 4, 2: the highest is 8, and the correction that of the third step
    assert after(rule, 4.0, 0.0, 0.0).rate(1.0) == pytest.approx(1 / np.sqrt(8 / 0.875))


def test_squares_of_small_gradients_do_not_vanish() -> None:
    assert after(MomentRule(eps=0.0), 1e-30).rate(1.0) == pytest.approx(1e30, rel=1e-6)


def test_no_gradient_yet() -> None:
    adam = MomentRule(eps=1e-8, decay=0.9, corrected=True)
    for rule in (MomentRule(eps=1e-8), MomentRule(eps=1e-8, start=1.0), adam):
        assert np.isnan(SecondMoment(rule, (2,)).rate(1.0)).all()
        assert np.isnan(after(rule, 0.0, 0.0).rate(1.0)).all()
        assert np.isfinite(after(rule, 0.0, 1.0, 0.0).rate(1.0)).all()


def test_what_is_not_taken_in_leaves_no_trace() -> None:
    rule = MomentRule(eps=0.1, decay=0.7, corrected=True, centered=True, highest=True)
    moment = SecondMoment(rule, (2,))
    for gradient, where in (([1.0, 1.0], True), ([np.nan, 5.0], [False, True]), ([2.0, 2.0], [True, False])):
        moment.take(np.array(gradient), np.array(where))
    np.testing.assert_allclose(
        moment.rate(1.0), [after(rule, 1.0, 2.0).rate(1.0)[0], after(rule, 1.0, 5.0).rate(1.0)[0]]
    )
    assert moment.count.tolist() == [2, 2]


@given(arrays(np.float32, (5, 3), elements=FINITE), st.floats(0.01, 0.999), st.floats(1e-9, 1.0))
@settings(deadline=None, max_examples=60)
def test_against_the_definition(gradients: np.ndarray, decay: float, eps: float) -> None:
    """Sums written out: G = Σ g², or (1 - γ) Σ γ^(t - s) g_s²."""
    g = gradients.astype(np.float64)
    weights = (1 - decay) * decay ** np.arange(5)[::-1]
    truths = {
        MomentRule(eps): (g**2).sum(axis=0),
        MomentRule(eps, decay=decay): weights @ g**2,
        MomentRule(eps, decay=decay, corrected=True): (weights @ g**2) / weights.sum(),
    }
    for rule, square in truths.items():
        moment = SecondMoment(rule, (3,))
        for row in gradients:
            moment.take(row)
        truth = np.where((g != 0).any(axis=0), 0.3 / (np.sqrt(square) + eps), np.nan)
        np.testing.assert_allclose(moment.rate(0.3), truth, rtol=1e-9)


@given(arrays(np.float64, (3, 2), elements=st.floats(1e-9, 1e9)), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=60)
def test_closeness_is_a_distance_of_logarithms(rates: np.ndarray, factor: float) -> None:
    own, whole = rates[:, 0], rates[:, 1]
    near = closeness(own, whole)
    np.testing.assert_allclose(near, np.exp(-np.abs(np.log(own) - np.log(whole))), rtol=1e-9)
    np.testing.assert_allclose(near, closeness(whole, own))
    np.testing.assert_allclose(near, closeness(factor * own, factor * whole), rtol=1e-12)
    assert (closeness(own, own) == 1).all()


def test_the_rate_decays_by_the_steps_before() -> None:
    moment = SecondMoment(MomentRule(eps=0.0, rate_decay=0.5), (1,))
    rates = []
    for _ in range(5):
        moment.take(np.array([1.0]))
        rates.append(float(moment.rate(1.0)[0] * np.sqrt(moment.square[0])))
    np.testing.assert_allclose(rates, [1, 1 / 1.5, 1 / 2, 1 / 2.5, 1 / 3])
