from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dominance.analyse.kernels.sum_over_tasks import sum_over_tasks


@pytest.mark.parametrize("tasks", [1, 2, 8, 9, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_is_the_same_for_one_coordinate_and_for_many(tasks: int, dtype: type[np.floating[Any]]) -> None:
    values = (np.random.default_rng(0).random((tasks, 300)) ** 8).astype(dtype)
    whole = sum_over_tasks(values)
    for laid_out in (values, np.asfortranarray(values)):
        alone = [sum_over_tasks(np.ascontiguousarray(laid_out[:, i : i + 1]))[0] for i in range(300)]
        np.testing.assert_array_equal(sum_over_tasks(laid_out), whole)
        np.testing.assert_array_equal(alone, whole)
    np.testing.assert_allclose(whole, values.sum(axis=0), rtol=1e-5 if dtype is np.float32 else 1e-13)


def test_of_no_task() -> None:
    assert sum_over_tasks(np.zeros((0, 3))).tolist() == [0, 0, 0]
