from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from optim.matrices import Matrix, matrices

from dominance.optim import AlignedMTL

TASKS = tuple("abcdefghijkl")


def mixing(gram: Matrix, scale: Any = "min") -> Matrix:
    return AlignedMTL(scale).mixing(gram, np.ones(len(gram)), TASKS[: len(gram)])


def well_conditioned(count: int) -> Iterator[Matrix]:
    """Whose weakest component is no rounding of the strongest."""
    return (g for _, g in matrices(count, kinds=("random", "agreeing")) if np.linalg.cond(g) < 200)


def test_orthogonal_gradients_become_as_long_as_the_shortest() -> None:
    g = np.array([[3.0, 0.0], [0.0, -0.5]])
    np.testing.assert_allclose(mixing(g @ g.T) @ g, [[0.5, 0.0], [0.0, -0.5]], atol=1e-14)


@pytest.mark.parametrize(("scale", "value"), [("min", np.min), ("mean", lambda s: np.sqrt(np.mean(s**2)))])
def test_it_is_the_nearest_orthogonal_system(scale: str, value: Any) -> None:
    """The polar factor U Vᵀ of G = U S Vᵀ, which solves Procrustes' problem, times one length."""
    for g in well_conditioned(100):
        left, sizes, right = np.linalg.svd(g, full_matrices=False)
        aligned = mixing(g @ g.T, scale) @ g
        np.testing.assert_allclose(aligned, value(sizes) * left @ right, atol=1e-8 * sizes.max())


@pytest.mark.parametrize(("scale", "theirs"), [("min", "min"), ("median", "median"), ("mean", "rmse")])
def test_against_torchjd(scale: str, theirs: Any) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    for kind, g in matrices(80, kinds=("random", "agreeing", "zero", "equal"), sizes=range(2, 9), seed=1):
        gram = g @ g.T
        weighting = torchjd.AlignedMTLWeighting(torch.ones(len(g), dtype=torch.float64), scale_mode=theirs)
        found, expected = mixing(gram, scale).sum(axis=0), weighting(torch.from_numpy(gram)).numpy()
        np.testing.assert_allclose(found @ g, expected @ g, atol=1e-6 * np.abs(g).max(), err_msg=kind)


def test_dependent_gradients_lose_what_is_not_there() -> None:
    """Two equal gradients are one component: each of the aligned ones is half of it."""
    g = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    found = mixing(g @ g.T) @ g
    np.testing.assert_allclose(found.sum(axis=0), [2**0.5, 1.0])
    assert mixing(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]


def test_the_condition_number_is_one() -> None:
    for g in well_conditioned(50):
        assert np.linalg.cond(mixing(g @ g.T) @ g) == pytest.approx(1, rel=1e-5)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="scale is 'max'"):
        AlignedMTL("max")  # type: ignore[arg-type]
