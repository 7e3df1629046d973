from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.problems import TASKS, Problem, flat_grad

from dominance.optim import RLW

torch.set_num_threads(1)


def draw(rlw: RLW, times: int, k: int = 3) -> np.ndarray:
    return np.array([rlw.loss_weights(np.ones(k), TASKS[:k]) for _ in range(times)])


@pytest.mark.parametrize("distribution", ["normal", "dirichlet"])
def test_weights_are_positive_and_sum_to_one(distribution: str) -> None:
    weights = draw(RLW(distribution), 200)  # type: ignore[arg-type]
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


def test_the_normal_ones_have_normal_log_ratios() -> None:
    """log(w_a / w_b) = z_a - z_b ~ N(0, 2)."""
    weights = draw(RLW(seed=4), 4000)
    ratios = np.log(weights[:, 0] / weights[:, 1])
    assert ratios.mean() == pytest.approx(0, abs=0.07)
    assert ratios.var() == pytest.approx(2, rel=0.1)


def test_the_dirichlet_ones_have_its_moments() -> None:
    """Dirichlet(1, 1, 1): mean 1/3, variance 1/18."""
    weights = draw(RLW("dirichlet", seed=4), 4000)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.02)
    np.testing.assert_allclose(weights.var(axis=0), 1 / 18, rtol=0.1)


def test_the_gradient_is_that_of_the_weighted_sum() -> None:
    problem = Problem(dtype=torch.float64)
    weights = torch.from_numpy(draw(RLW(seed=9), 1)[0])
    RLW(seed=9).backward(problem.losses(), problem.parameters)
    torch.testing.assert_close(flat_grad(problem.shared), weights @ problem.flat(), rtol=1e-10, atol=1e-12)


def test_one_task_has_weight_one() -> None:
    assert draw(RLW(), 2, k=1).tolist() == [[1.0], [1.0]]


def test_another_distribution() -> None:
    with pytest.raises(ValueError, match="distribution is 'uniform'"):
        RLW("uniform")  # type: ignore[arg-type]
