from __future__ import annotations

import numpy as np

from dominance.analyse.kernels.ratio import ratio


def test_by_hand() -> None:
    average = np.array([[1.0, 0.0, 2.0, 1e-300], [3.0, 0.0, 2.0, 3e-300]])
    np.testing.assert_allclose(ratio(average), [[0.25, np.nan, 0.5, 0.25], [0.75, np.nan, 0.5, 0.75]])


def test_a_factor_common_to_the_tasks_cancels() -> None:
    average = np.random.default_rng(0).random((3, 50))
    np.testing.assert_array_equal(ratio(average * 2.0**-400), ratio(average))


def test_one_task_owns_all_that_moved() -> None:
    np.testing.assert_array_equal(ratio(np.array([[5.0, 0.0]])), [[1.0, np.nan]])
