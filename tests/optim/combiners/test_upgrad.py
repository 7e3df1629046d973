from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, Matrix, matrices
from optim.properties import assert_no_conflict

from dominance.optim import UPGrad
from dominance.optim.solvers.simplex import onto_dual_cone

TASKS = tuple("abcdefghijkl")


def mixing(gram: Matrix) -> Matrix:
    return UPGrad().mixing(gram, np.ones(len(gram)), TASKS[: len(gram)])


def test_two_tasks_in_conflict_by_hand() -> None:
    """(1, 0) and (-1, 1): the first loses its part along the second, (1/2, 1/2); the second becomes (0, 1)."""
    g = np.array([[1.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(2 * mixing(g @ g.T) @ g, [[0.5, 0.5], [0.0, 1.0]], atol=1e-15)


def test_without_conflict_it_is_the_mean() -> None:
    assert mixing(np.array([[1.0, 0.5], [0.5, 4.0]])).tolist() == [[0.5, 0.0], [0.0, 0.5]]


def test_each_row_is_a_projection_onto_the_dual_cone() -> None:
    """v >= e_k, every g_i · d >= 0, and one of the two is an equality: the conditions of min vᵀGv, v >= e_k."""
    for _, g in matrices(300, seed=1):
        gram, k = g @ g.T, len(g)
        norms = np.linalg.norm(g, axis=1)
        for one, row in zip(np.eye(k), k * mixing(gram), strict=True):
            along = row @ gram / np.maximum(norms, 1e-300) / max(norms @ one, 1e-300)
            more = (row - one) * norms / max(norms @ one, 1e-300)
            assert more.min() >= 0
            assert along.min() >= -1e-7
            assert np.abs(more * along).max() <= 1e-7
        assert_no_conflict(g, mixing(gram).sum(axis=0), 1e-7)


def test_against_least_squares_with_bounds() -> None:
    """min vᵀGv over v >= u, with v = u + y: the least-squares problem |Σ y_i g_i + Σ u_i g_i| over y >= 0."""
    optimize = pytest.importorskip("scipy.optimize")
    for _, g in matrices(100, kinds=("random", "agreeing", "equal", "zero"), seed=2):
        u = np.random.default_rng(len(g)).uniform(0.1, 1, len(g))
        y, _ = optimize.nnls(g.T, -(u @ g))
        found = onto_dual_cone(g @ g.T, u) @ g
        assert np.linalg.norm(found - (u + y) @ g) <= 1e-8 * (u @ np.linalg.norm(g, axis=1))


def test_against_torchjd() -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    projector = pytest.importorskip("torchjd.linalg").QuadprogProjector(norm_eps=0.0, reg_eps=1e-12)
    theirs = torchjd.UPGradWeighting(projector=projector)
    for _, g in matrices(60, kinds=("random", "agreeing"), sizes=range(2, 9), seed=3):
        gram = g @ g.T
        np.testing.assert_allclose(mixing(gram).sum(axis=0), theirs(torch.from_numpy(gram)), rtol=1e-5, atol=1e-8)


def test_scaling_a_task_scales_its_row_alone() -> None:
    for _, g in matrices(50, kinds=INDEPENDENT, seed=4):
        larger = g.copy()
        larger[0] *= 7
        before, after = mixing(g @ g.T) @ g, mixing(larger @ larger.T) @ larger
        np.testing.assert_allclose(after[0], 7 * before[0], rtol=1e-6, atol=1e-9 * np.abs(before[0]).max())
        np.testing.assert_allclose(after[1:], before[1:], rtol=1e-6, atol=1e-9 * np.abs(before).max())
