from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dominance.analyse.kernels.ema import accumulate, fades, hold, holds, weight_seen
from dominance.decay import FLOOR, LEAST

SMALL_OR_LARGE = st.floats(-(2**50), 2**50, width=32, allow_subnormal=True)


def after(updates: np.ndarray, decay: float) -> np.ndarray:
    total, scratch = np.zeros(updates.shape[1:]), np.empty(updates.shape[1:])
    for update in updates:
        accumulate(total, update, decay, scratch)
    return total


def test_by_hand() -> None:
    updates = np.array([[3], [0], [-1]], dtype=np.float32)
    # 9; 9 * 0.5; 4.5 * 0.5 + 1
    np.testing.assert_array_equal(after(updates, 0.5), [3.25])


@given(arrays(np.float32, (5, 2, 3), elements=SMALL_OR_LARGE), st.floats(0.01, 0.999))
@settings(deadline=None, max_examples=50)
def test_is_the_sum_of_weighted_squares(updates: np.ndarray, decay: float) -> None:
    truth = sum(decay ** (4 - i) * updates[i].astype(float) ** 2 for i in range(5))
    np.testing.assert_allclose(after(updates, decay), truth, rtol=1e-13, atol=0)


@pytest.mark.parametrize("size", [1e-25, 1e-38, 1e-45])
def test_squares_that_float32_lacks(size: float) -> None:
    update = np.array([[size]], dtype=np.float32)
    assert np.square(update) == 0  # which is why the kernel works in float64
    assert after(update, 0.9)[0] == float(update[0, 0]) ** 2 > 0


def test_hold_keeps_ratios_where_decay_would_lose_them() -> None:
    for decay in (0.9, 0.5, 1e-60):
        steps = int(3000 / -np.log(decay))  # e^-3000 is far below the smallest float64
        fading = np.full(steps, decay)
        total = np.array([[3e-90, 4.0], [1e-90, 0.0]])
        nothing, scratch = np.zeros((2, 2), dtype=np.float32), np.empty((2, 2))
        for fade, held in zip(fading, holds(fading), strict=True):
            if held:
                hold(total)
            accumulate(total, nothing, fade, scratch)
        np.testing.assert_allclose(total[0] / total.sum(axis=0), [0.75, 1.0], rtol=1e-10)
        hold(total)
        assert (total.sum(axis=0) >= FLOOR * (1 - 1e-12)).all()


def test_what_is_held_yields_to_the_smallest_new_update() -> None:
    total, scratch = np.array([[1e-230], [0.0]]), np.empty((2, 1))
    hold(total)
    accumulate(total, np.array([[0], [1e-45]], dtype=np.float32), 0.99, scratch)
    assert total[1] / total.sum(axis=0) == 1


def test_hold_leaves_the_untouched_and_the_lively_alone() -> None:
    total = np.array([[0.0, 1.0], [0.0, 1e-300]])
    hold(total)
    np.testing.assert_array_equal(total, [[0.0, 1.0], [0.0, 1e-300]])


def test_a_pause_fades_as_its_steps_would_have_done() -> None:
    updates = np.array([[3.0], [1.0], [2.0]], np.float32)
    total, scratch = np.zeros(1), np.empty(1)
    for update, fade in zip(updates, fades(np.array([1, 4, 1]), 0.5), strict=True):
        accumulate(total, update, fade, scratch)
    assert total[0] == 9 / 32 + 1 / 2 + 4


def test_the_longest_pause_leaves_a_ratio_where_nothing_moves_after_it() -> None:
    fading = np.maximum(fades(np.array([1, 10**7, 10**7]), 0.99), LEAST)
    total, nothing, scratch = np.array([[3.0], [1.0]]), np.zeros((2, 1), np.float32), np.empty((2, 1))
    for fade, held in zip(fading, holds(fading), strict=True):
        if held:
            hold(total)
        accumulate(total, nothing, fade, scratch)
    assert total[0] / total.sum() == pytest.approx(0.75)


def test_the_weight_seen_of_constant_updates_gives_their_average_back() -> None:
    gaps, decay = np.array([1, 1, 7, 1, 0, 50, 1]), 0.9
    total, scratch = np.zeros(1), np.empty(1)
    steps = 0
    for gap, seen in zip(gaps.tolist(), weight_seen(gaps, decay).tolist(), strict=True):
        if gap:
            steps += gap
            accumulate(total, np.array([2.0], np.float32), decay**gap, scratch)
        assert (1 - decay) * total[0] / seen == pytest.approx(4 * (1 - decay**steps))


def test_what_fades_by_the_least_in_all_is_not_held_and_what_fades_by_more_is() -> None:
    np.testing.assert_array_equal(holds(np.array([1.0, LEAST])), [False, False])
    np.testing.assert_array_equal(holds(np.array([1e-45, 0.7e-45])), [False, True])
