from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, Matrix, matrices
from optim.properties import assert_equivariant, assert_no_conflict, assert_scale_free

from dominance.optim import ConFIG

TASKS = tuple("abcdefghijkl")


def weights(gram: Matrix) -> Matrix:
    return ConFIG().weights(gram, np.ones(len(gram)), TASKS[: len(gram)])


def test_two_tasks_by_hand() -> None:
    """(2, 0) and (0, 4): the direction (1, 1) / √2, and the projections 2 / √2 + 4 / √2 on it."""
    g = np.array([[2.0, 0.0], [0.0, 4.0]])
    np.testing.assert_allclose(weights(g @ g.T) @ g, [3.0, 3.0])


def test_one_cosine_with_all_and_no_conflict() -> None:
    for _, g in matrices(100, kinds=INDEPENDENT):
        found = weights(g @ g.T)
        total = found @ g
        cosines = g @ total / np.linalg.norm(g, axis=1) / np.linalg.norm(total)
        np.testing.assert_allclose(cosines, cosines[0], rtol=1e-6)
        assert np.linalg.norm(total) == pytest.approx((g @ total).sum() / np.linalg.norm(total), rel=1e-6)
        assert_no_conflict(g, found)


def test_order_and_scale() -> None:
    rng = np.random.default_rng(0)
    for _, g in matrices(60, kinds=INDEPENDENT, seed=1):
        assert_equivariant(weights, g, rng.permutation(len(g)), 1e-7)
        assert_scale_free(weights, g, 1e-7)


def test_against_torchjd() -> None:
    theirs = pytest.importorskip("torchjd.aggregation").ConFIG()
    for kind, g in matrices(100, kinds=("random", "agreeing", "decades apart", "equal", "zero"), seed=2):
        expected = theirs(torch.from_numpy(g)).numpy()
        np.testing.assert_allclose(weights(g @ g.T) @ g, expected, atol=1e-7 * np.abs(expected).max(), err_msg=kind)


def test_no_direction() -> None:
    assert weights(np.zeros((2, 2))).tolist() == [0, 0]
    assert weights(np.array([[1.0, -2.0], [-2.0, 4.0]])).tolist() == [0, 0]
    assert weights(np.diag([4.0, 0.0])) == pytest.approx([1, 0])
