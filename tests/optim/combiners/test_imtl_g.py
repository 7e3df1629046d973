from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, Matrix, matrices
from optim.properties import assert_equivariant, assert_same_sum, assert_scale_free

from dominance.optim import IMTLG


def weights(gram: Matrix) -> Matrix:
    return IMTLG().weights(gram, np.ones(len(gram)), tuple("abcdefghijkl"[: len(gram)]))


def spread(g: Matrix, alpha: Matrix) -> float:
    """How far the projections are apart, relative to what the sum is made of."""
    sizes = np.linalg.norm(g, axis=1)
    used = sizes > 0
    if not used.any():
        return 0.0
    along = (g[used] / sizes[used, None]) @ (alpha @ g)
    return float(np.ptp(along) / (np.abs(alpha) @ sizes))


def test_by_hand() -> None:
    assert weights(np.array([[5.0]])).tolist() == [1]
    # Norms 1 and 2 at a right angle: 2/3 (1, 0) and 1/3 (0, 2) are of one length.
    assert weights(np.diag([1.0, 4.0])) == pytest.approx([2 / 3, 1 / 3])
    # The same at any angle: the bisector.
    assert weights(np.array([[1.0, -1.2], [-1.2, 4.0]])) == pytest.approx([2 / 3, 1 / 3])


def test_dependent_gradients_by_hand() -> None:
    # Opposite: only the vector 0 projects equally on both.
    assert weights(np.array([[1.0, -2.0], [-2.0, 4.0]])) == pytest.approx([2 / 3, 1 / 3])
    # Equal: shared alike.
    assert weights(np.ones((2, 2))) == pytest.approx([0.5, 0.5])
    # Zero: left out.
    assert weights(np.diag([1.0, 0.0, 4.0])) == pytest.approx([2 / 3, 0, 1 / 3])
    assert weights(np.zeros((2, 2))).tolist() == [0, 0]


def test_projections_are_equal() -> None:
    for kind, g in matrices(1000):
        alpha = weights(g @ g.T)
        assert spread(g, alpha) <= 1e-8, kind
        assert alpha.sum() == pytest.approx(float(g.any()), abs=1e-6)


def test_order_and_scale() -> None:
    rng = np.random.default_rng(0)
    for _, g in matrices(200, kinds=INDEPENDENT, seed=1):
        assert_equivariant(weights, g, rng.permutation(len(g)), 1e-7)
        assert_scale_free(weights, g, 1e-7)


def test_against_torchjd() -> None:
    """The same weights for independent gradients of like size; elsewhere the projections here are no further apart."""
    torchjd = pytest.importorskip("torchjd.aggregation")
    theirs = torchjd.IMTLGWeighting()
    for kind, g in matrices(1200, seed=2):
        gram = g @ g.T
        found = weights(gram)
        other = theirs(torch.from_numpy(gram)).numpy()
        if kind in ("random", "agreeing"):
            assert_same_sum(g, found, other, 1e-6)
        if other.any():
            assert spread(g, found) <= spread(g, other) + 1e-9
