from __future__ import annotations

import math

import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import GridSearch

torch.set_num_threads(1)
F64 = torch.float64


def test_the_weighted_sum() -> None:
    problem = Problem(dtype=F64)
    weights = {"a": 0.5, "b": 0.0, "c": 2.5}
    GridSearch(weights).backward(problem.losses(), problem.parameters)
    torch.testing.assert_close(
        flat_grad(problem.shared), torch.tensor([0.5, 0.0, 2.5], dtype=F64) @ problem.flat(), rtol=1e-10, atol=1e-12
    )


def test_a_task_without_a_weight() -> None:
    problem = Problem()
    with pytest.raises(ValueError, match="made for a, b, not for c"):
        GridSearch({"a": 1, "b": 1}).backward(problem.losses(), problem.parameters)


@pytest.mark.parametrize("weights", [{"a": -1.0, "b": 1.0}, {"a": 0.0}, {"a": math.nan, "b": 1.0}, {}])
def test_weights_that_make_no_sense(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not all zero"):
        GridSearch(weights)
