from __future__ import annotations

import numpy as np
import pytest
from optim.matrices import INDEPENDENT, in_float32, matrices
from optim.properties import assert_equivariant, bargaining_residual, norms, stationary

from dominance.errors import SolverFailed
from dominance.optim.solvers.bargaining import bargain, solve


def test_by_hand() -> None:
    assert solve(np.array([[4.0]])) == pytest.approx([0.5])
    assert solve(np.diag([4.0, 9.0, 1.0])) == pytest.approx([1 / 2, 1 / 3, 1])
    # Two unit vectors with cosine c: a² (1 + c) = 1.
    assert solve(np.array([[1.0, -0.5], [-0.5, 1.0]])) == pytest.approx([2**0.5, 2**0.5])
    # Three alike: a² (1 + 1 + 1) = 1.
    assert solve(np.ones((3, 3))) == pytest.approx([3**-0.5] * 3)


def test_independent_gradients() -> None:
    for _, g in matrices(1000, kinds=INDEPENDENT):
        gram = g @ g.T
        assert bargaining_residual(gram, solve(gram)) <= 1e-8


def test_solution_exists_just_where_no_combination_vanishes() -> None:
    solved, failed = 0, 0
    for _, g in matrices(500, kinds=("rank-deficient", "opposite", "equal", "zero"), seed=1):
        gram = g @ g.T
        try:
            alpha = solve(gram)
        except SolverFailed:
            assert stationary(gram)
            failed += 1
        else:
            rounding = 1e-15 * float((alpha * norms(gram)).sum()) ** 2
            assert bargaining_residual(gram, alpha) <= 1e-8 + 50 * rounding
            solved += 1
    assert min(solved, failed) > 100


def test_more_tasks_than_usual() -> None:
    rng = np.random.default_rng(3)
    for k in (20, 40):
        g = rng.standard_normal((k, 60)) * 10 ** rng.uniform(-3, 3, (k, 1))
        assert bargaining_residual(g @ g.T, solve(g @ g.T)) <= 1e-8


def test_order_of_tasks_and_scale() -> None:
    rng = np.random.default_rng(4)
    for _, g in matrices(100, kinds=INDEPENDENT, seed=2):
        assert_equivariant(solve, g, rng.permutation(len(g)), 1e-8)
        # alpha is of the inverse scale, task by task.
        factors = 10 ** rng.uniform(-2, 2, len(g))
        scaled = g * factors[:, None]
        np.testing.assert_allclose(solve(scaled @ scaled.T) * factors, solve(g @ g.T), rtol=1e-7)


def test_rounded_inner_products() -> None:
    for _, g in matrices(300, seed=5):
        gram = in_float32(g)
        try:
            alpha = solve(gram)
        except SolverFailed:
            continue
        rounding = 1e-15 * float((alpha * norms(gram)).sum()) ** 2
        assert bargaining_residual(gram, alpha) <= 1e-8 + 50 * rounding


@pytest.mark.parametrize(
    ("gram", "said"),
    [
        ([[1, -1], [-1, 1]], "opposite"),
        ([[1, 0], [0, 0]], "zero"),
        ([[2, -1, -1], [-1, 1, 0], [-1, 0, 1]], "vanishes"),
    ],
)
def test_no_solution(gram: list[list[float]], said: str) -> None:
    with pytest.raises(SolverFailed, match=said):
        solve(np.array(gram, dtype=float))


def test_bargain_leaves_out_what_is_zero_and_keeps_old_weights_when_it_fails() -> None:
    gram = np.diag([4.0, 0.0, 1.0])
    weights, failure = bargain(gram, np.array([7.0, 8.0, 9.0]))
    assert weights.tolist() == [0.5, 8.0, 1.0]
    assert not failure
    weights, failure = bargain(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([7.0, 8.0]))
    assert weights.tolist() == [7.0, 8.0]
    assert "opposite" in failure
    weights, failure = bargain(np.zeros((2, 2)), np.array([7.0, 8.0]))
    assert weights.tolist() == [7.0, 8.0]
    assert failure
