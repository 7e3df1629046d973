from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dominance.analyse.kernels.chi_square import chi_square


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), correction=st.booleans())
def test_against_scipy(seed: int, correction: bool) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(1, 60, rng.integers(2, 5, 2) if seed % 2 else (2, 2)).astype(float)
    theirs = stats.chi2_contingency(table, correction=correction)
    statistic, dof, p = chi_square(table, correction=correction)
    assert dof == theirs.dof
    assert statistic == pytest.approx(theirs.statistic, rel=1e-10)
    assert p == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)


def test_an_empty_margin_says_nothing() -> None:
    statistic, dof, p = chi_square(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert math.isnan(statistic)
    assert dof == 1
    assert math.isnan(p)


def test_the_printed_statistic_is_without_correction() -> None:
    """PUB Sec. III prints 144 pairs, 70 % of them reverse, and chi2(1) = 13.67; the table itself is a picture.

    Of all tables of 144 pairs with 69 to 71 % reverse, some give 13.67 without a continuity correction, none with it.
    """

    def reaches(correction: bool) -> bool:
        for reverse in range(100, 103):
            for b, a in itertools.product(range(reverse + 1), range(144 - reverse + 1)):
                table = np.array([[a, b], [reverse - b, 144 - reverse - a]], dtype=float)
                found = quick(table, correction)
                if abs(found - 13.67) < 0.005:
                    assert chi_square(table, correction=correction)[0] == pytest.approx(found)
                    return True
        return False

    def quick(table: np.ndarray, correction: bool) -> float:
        (a, b), (c, d) = table.tolist()
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        off = max(0.0, abs(a * d - b * c) - 72 * correction)
        return 144 * off**2 / margins if margins else 0.0

    assert reaches(False)
    assert not reaches(True)
