from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.geometry import condition_number, curvature_bound, magnitude_similarity, norms

VECTORS = st.lists(st.lists(st.integers(-9, 9), min_size=4, max_size=4), min_size=2, max_size=5)


@given(VECTORS)
@settings(deadline=None, max_examples=80)
def test_from_the_definitions(gradients: list[list[int]]) -> None:
    g = np.array(gradients, dtype=float)
    gram = g @ g.T
    similarity, bound = magnitude_similarity(gram), curvature_bound(gram)
    for i, one in enumerate(g):
        for j, other in enumerate(g):
            if i == j or not one.any() or not other.any():
                assert np.isnan(similarity[i, j])
                assert np.isnan(bound[i, j])
                continue
            a, b = np.linalg.norm(one), np.linalg.norm(other)
            assert similarity[i, j] == pytest.approx(2 * a * b / (a**2 + b**2))
            total = np.linalg.norm(one + other) ** 2
            if total:
                truth = (1 - (one @ other / a / b) ** 2) * np.linalg.norm(one - other) ** 2 / total
                assert bound[i, j] == pytest.approx(truth, abs=1e-12)
    np.testing.assert_allclose(norms(gram), np.where(g.any(axis=1), np.linalg.norm(g, axis=1), np.nan))


@given(VECTORS)
@settings(deadline=None, max_examples=80)
def test_condition_number_is_that_of_the_matrix(gradients: list[list[int]]) -> None:
    g = np.array(gradients, dtype=float)
    found = condition_number(g @ g.T)
    g = g[g.any(axis=1)]
    if len(g) < 2:
        assert np.isnan(found)
        return
    values = np.linalg.svd(g, compute_uv=False)
    if len(g) > 4 or values[-1] < 1e-9 * values[0]:
        assert np.isinf(found)
    else:
        assert found == pytest.approx(values[0] / values[-1], rel=1e-8)


def test_opposite_gradients_cancel() -> None:
    assert curvature_bound(np.array([[1.0, -1.0], [-1.0, 1.0]]))[0, 1] != 0  # 0 / 0
    assert curvature_bound(np.array([[1.0, -2.0], [-2.0, 4.0]]))[0, 1] == 0


@pytest.mark.parametrize("scale", [1e-140, 1e140])
def test_a_common_scale_and_a_rotation_change_nothing(scale: float) -> None:
    rng = np.random.default_rng(0)
    g = rng.standard_normal((3, 6)) * np.array([[1.0], [5.0], [0.2]])
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    turned = scale * g @ rotation
    for measure in (magnitude_similarity, curvature_bound, condition_number):
        np.testing.assert_allclose(measure(turned @ turned.T), measure(g @ g.T), rtol=1e-9)
    np.testing.assert_allclose(norms(turned @ turned.T), scale * norms(g @ g.T))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_left_out(bad: float) -> None:
    gram = np.array([[bad, bad, bad], [bad, 4.0, 0.0], [bad, 0.0, 1.0]])
    assert condition_number(gram) == pytest.approx(2)
    assert np.isnan(magnitude_similarity(gram)[0]).all()
    assert magnitude_similarity(gram)[1, 2] == pytest.approx(0.8)
    assert curvature_bound(gram)[1, 2] == pytest.approx(1)


def test_inner_products_of_what_is_left_out_count_for_nothing() -> None:
    assert condition_number(np.array([[np.inf, 0.5, 0.5], [0.5, 4.0, 0.0], [0.5, 0.0, 1.0]])) == pytest.approx(2)


def test_one_of_four_without_a_gradient() -> None:
    assert condition_number(np.diag([9.0, 0.0, 4.0, 1.0])) == pytest.approx(3)
