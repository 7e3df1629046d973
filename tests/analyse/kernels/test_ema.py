from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dominance.analyse.kernels.ema import FLOOR, accumulate, hold, hold_every

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
    for decay in (0.9, 0.5):
        total = np.array([[3e-90, 4.0], [1e-90, 0.0]])
        nothing, scratch = np.zeros((2, 2), dtype=np.float32), np.empty((2, 2))
        for step in range(int(3000 / -np.log(decay))):  # e^-3000 is far below the smallest float64
            accumulate(total, nothing, decay, scratch)
            if step % hold_every(decay) == 0:
                hold(total)
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
