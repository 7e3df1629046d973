from __future__ import annotations

import numpy as np

from dominance.unattributed import unattributed_share


def test_it_is_the_share_of_the_parts_over_layers() -> None:
    unattributed, residual = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    tasks = np.array([[[1.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(unattributed_share(unattributed, tasks, residual), [3 / 12, 0])


def test_what_is_not_known_counts_as_nothing() -> None:
    nan = np.nan
    assert unattributed_share(np.array([1.0, nan]), np.array([[3.0, nan], [nan, nan]]), np.array([nan, nan])) == 0.25
