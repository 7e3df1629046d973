from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from dominance.analyse.kernels.effective import effective_tasks


@pytest.mark.parametrize("k", [1, 2, 3, 5, 40])
def test_one_where_dominated_and_k_where_balanced(k: int) -> None:
    ratios = np.stack([np.eye(k)[0], np.full(k, 1 / k)], axis=1)
    np.testing.assert_allclose(effective_tasks(ratios), [1, k], rtol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_is_the_exponential_of_the_entropy(dtype: type, error: float) -> None:
    ratios = np.random.default_rng(0).dirichlet([0.3, 1, 2], size=200).T
    found = effective_tasks(ratios.astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.exp(entropy(ratios)), rtol=error)


def test_untouched_stays_unknown() -> None:
    assert np.isnan(effective_tasks(np.full((3, 1), np.nan))).all()
