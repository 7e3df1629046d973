from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.holm import holm


@settings(max_examples=60, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_rejects_what_the_step_down_procedure_rejects(p: list[float]) -> None:
    """Holm's own words: go up from the smallest p; stop at the first with p > alpha / (m - i + 1)."""
    adjusted = holm(np.array(p))
    for alpha in (0.01, 0.05, 0.2, 0.5):
        rejected = set()
        for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[i] * (len(p) - place) > alpha:
                break
            rejected.add(i)
        assert rejected == set(np.flatnonzero(adjusted <= alpha).tolist())


def test_nan_is_no_test() -> None:
    np.testing.assert_array_equal(holm(np.array([0.3, np.nan])), [0.3, np.nan])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_no_probability_is_above_one() -> None:
    np.testing.assert_array_equal(holm(np.array([0.9, 0.8])), [1, 1])
