from __future__ import annotations

import math

import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import SI

torch.set_num_threads(1)
F64 = torch.float64


def test_the_gradient_of_the_sum_of_logarithms() -> None:
    ours, plain = Problem(dtype=F64), Problem(dtype=F64)
    SI().backward(ours.losses(), ours.parameters)
    torch.stack([loss.log() for loss in plain.losses().values() if loss is not None]).sum().backward()
    torch.testing.assert_close(flat_grad(ours.parameters), flat_grad(plain.parameters), rtol=1e-10, atol=1e-12)


def test_no_scale_of_a_loss_matters() -> None:
    grads = []
    for scales in ((1.0, 10.0, 0.1), (7.0, 1e-4, 1e5)):
        problem = Problem(scales=scales, dtype=F64)
        SI().backward(problem.losses(), problem.parameters)
        grads.append(flat_grad(problem.parameters))
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(("value", "error"), [(0.0, ValueError), (-1.0, ValueError), (math.nan, FloatingPointError)])
def test_a_loss_without_a_logarithm(value: float, error: type[Exception]) -> None:
    one, w = torch.ones((), requires_grad=True), torch.tensor(value, requires_grad=True)
    with pytest.raises(error, match=r"SI needs .*: b has|loss of b is not finite"):
        SI().backward({"a": one * 1, "b": w * 1}, [one, w])
