from __future__ import annotations

import numpy as np
import pytest
from optim.matrices import INDEPENDENT, matrices
from optim.properties import bargaining_residual

from dominance.errors import SolverFailed
from dominance.optim.solvers.bargaining import solve
from dominance.optim.solvers.sequential import solve_sequential


def test_by_hand() -> None:
    assert solve_sequential(np.diag([4.0, 9.0, 1.0])) == pytest.approx([1 / 2, 1 / 3, 1])
    assert solve_sequential(np.array([[1.0, -0.5], [-0.5, 1.0]])) == pytest.approx([2**0.5, 2**0.5])


def test_agrees_with_newton() -> None:
    for _, g in matrices(100, kinds=(*INDEPENDENT, "equal"), seed=1):
        gram = g @ g.T
        alpha = solve_sequential(gram)
        assert bargaining_residual(gram, alpha) <= 1e-8
        np.testing.assert_allclose(alpha, solve(gram), rtol=1e-7)


@pytest.mark.parametrize("gram", [[[1.0, -1.0], [-1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]])
def test_no_solution(gram: list[list[float]]) -> None:
    with pytest.raises(SolverFailed, match="no positive solution"):
        solve_sequential(np.array(gram))


def test_too_few_problems() -> None:
    with pytest.raises(SolverFailed, match="0 convex problems; allow more iterations"):
        solve_sequential(np.diag([1.0, 2.0]), iterations=0)
