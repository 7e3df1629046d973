from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from optim.matrices import INDEPENDENT, KINDS, Matrix, in_float32, matrices
from optim.properties import (
    assert_equivariant,
    assert_no_conflict,
    conflict_averse_gap,
    conflict_averse_objective,
    kkt_residual,
    stationary,
)

from dominance.optim.solvers.simplex import conflict_averse, min_norm


def test_min_norm_by_hand() -> None:
    assert min_norm(np.array([[3.0]])).tolist() == [1]
    assert min_norm(np.diag([1.0, 4.0])) == pytest.approx([0.8, 0.2])
    # The short gradient (1, 0) is itself nearest to the origin: (3, 1) lies beyond it.
    assert min_norm(np.array([[1.0, 3.0], [3.0, 10.0]])).tolist() == [1, 0]
    assert min_norm(np.array([[1.0, -2.0], [-2.0, 4.0]])) == pytest.approx([2 / 3, 1 / 3])
    assert min_norm(np.diag([1.0, 0.0, 0.0])).tolist() == [0, 0.5, 0.5]


def test_min_norm_is_optimal() -> None:
    for _, g in matrices(1000):
        gram = g @ g.T
        assert kkt_residual(gram, min_norm(gram)) <= 1e-8


def test_min_norm_against_every_set_of_tasks() -> None:
    kinds = [kind for kind in KINDS if kind != "decades apart"]
    for kind, g in matrices(150, kinds=kinds, sizes=range(1, 6), seed=1):
        gram = g @ g.T
        found = min_norm(gram)
        best = min(shortest(gram, some) for n in range(1, len(g) + 1) for some in combinations(range(len(g)), n))
        squared = float(found @ gram @ found)
        assert squared == pytest.approx(best, rel=1e-8, abs=1e-12 * gram.diagonal().min()), kind


def shortest(gram: Matrix, some: tuple[int, ...]) -> float:
    """wᵀGw at the shortest vector of the plane through some gradients, if it lies between them."""
    part = gram[np.ix_(some, some)]
    border = np.ones((len(some) + 1, len(some) + 1))
    border[:-1, :-1], border[-1, -1] = part / part.max() if part.max() > 0 else part, 0
    weights = np.linalg.lstsq(border, np.eye(len(some) + 1)[-1], rcond=None)[0][:-1]
    if weights.min() < 0 or abs(weights.sum() - 1) > 1e-9:
        return np.inf
    return float(weights @ part @ weights)


def test_min_norm_makes_no_conflict_and_does_not_mind_the_order() -> None:
    rng = np.random.default_rng(0)
    for _, g in matrices(200, seed=2):
        assert_no_conflict(g, min_norm(g @ g.T))
        assert_equivariant(min_norm, g, rng.permutation(len(g)), 1e-7)


def test_rounded_inner_products() -> None:
    """Nothing fails, and what is found is optimal but for the rounding."""
    for kind, g in matrices(500, seed=3):
        gram = in_float32(g)
        exact = g @ g.T
        assert kkt_residual(exact, min_norm(gram)) <= 1e-5
        v = conflict_averse(gram, 0.4)
        if kind != "decades apart" and not stationary(exact):
            assert conflict_averse_gap(exact, v, 0.4) <= 1e-3


def test_conflict_averse_by_hand() -> None:
    # Two unit gradients at a right angle: g0 = (½, ½) helps both alike, and so does the longer (½ + t, ½ + t) with
    # t √2 = c |g0| = c / √2.
    assert conflict_averse(np.eye(2), 0.5) == pytest.approx([0.25, 0.25])
    # (3, 0) and (0, 1): g0 = (1.5, 0.5); only the second, worse off, is added: |v g2| = c √2.5.
    assert conflict_averse(np.diag([9.0, 1.0]), 0.4) == pytest.approx([0, 0.4 * 2.5**0.5])
    assert conflict_averse(np.diag([9.0, 1.0]), 0).tolist() == [0, 0]


def test_conflict_averse_where_a_combination_vanishes() -> None:
    # g0 = 0: nothing to correct.
    assert conflict_averse(np.array([[1.0, -1.0], [-1.0, 1.0]]), 0.5).tolist() == [0, 0]
    # (1, 0), (-1, 0), (0, 1): min_i g_i·d cannot exceed 0; g0 = (0, 1/3) reaches it and stays.
    assert conflict_averse(np.array([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]]), 0.5) == pytest.approx([0, 0, 0])
    # (1.2, 0), (-1, 0), (0, 3): g0 = (1/15, 1) harms the second; (0, 1) is the closest that does not.
    g = np.array([[1.2, 0.0], [-1.0, 0.0], [0.0, 3.0]])
    d = (1 / 3 + conflict_averse(g @ g.T, 0.5)) @ g
    assert d == pytest.approx([0, 1], abs=1e-12)
    # A task with zero gradient: any d that harms nobody is best, so d = g0.
    assert conflict_averse(np.diag([1.0, 2.0, 0.0]), 0.5).tolist() == [0, 0, 0]


@pytest.mark.parametrize("c", [0.1, 0.4, 0.9, 1.5])
def test_conflict_averse_is_optimal(c: float) -> None:
    for kind, g in matrices(300, seed=int(10 * c)):
        gram = g @ g.T
        assert conflict_averse_gap(gram, conflict_averse(gram, c), c) <= 1e-8, kind


def test_conflict_averse_against_a_search() -> None:
    """No point of a fine grid on the simplex has a lower F."""
    points = np.array([(a, b, 50 - a - b) for a in range(51) for b in range(51 - a)]) / 50
    for _, g in matrices(60, kinds=INDEPENDENT[:2], sizes=[3], seed=6):
        gram = g @ g.T
        v = conflict_averse(gram, 0.5)
        found = conflict_averse_objective(gram, v / v.sum(), 0.5)
        squared = np.einsum("ni,ij,nj->n", points, gram, points)
        searched = (points @ gram.mean(axis=1) + 0.5 * np.sqrt(gram.sum() / 9 * squared)).min()
        scale = gram.diagonal().max()
        assert found <= searched + 1e-12 * scale
        assert searched <= found + 0.02 * scale


def test_conflict_averse_order_of_tasks() -> None:
    rng = np.random.default_rng(0)
    for _, g in matrices(200, kinds=(*INDEPENDENT, "equal"), seed=7):
        assert_equivariant(lambda gram: 1 / len(gram) + conflict_averse(gram, 0.4), g, rng.permutation(len(g)), 1e-7)
