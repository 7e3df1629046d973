from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import ExcessMTL

torch.set_num_threads(1)
F64 = torch.float64


def step(method: ExcessMTL, w: torch.Tensor, *slopes: float) -> list[float]:
    w.grad = None
    method.backward({task: slope * w.sum() for task, slope in zip("ab", slopes, strict=True)}, [w])
    assert w.grad is not None
    return list(w.grad.tolist())


def test_two_tasks_by_hand() -> None:
    """E(0) = 3, 4; then S = 18, 80 and E = 9 / √18, 64 / √80: gains 1/√2 and 4/√5."""
    method, w = ExcessMTL(), torch.zeros(1, dtype=F64, requires_grad=True)
    assert step(method, w, 3.0, 4.0) == pytest.approx([3.5])
    powers = np.exp([1 / 2**0.5, 4 / 5**0.5])
    assert step(method, w, 3.0, 8.0) == pytest.approx([powers @ [3, 8] / powers.sum()], rel=1e-5)


@pytest.mark.parametrize("warmup", [1, 3])
def test_against_torchjd(warmup: int) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    theirs = torchjd.ExcessMTLWeighting(robust_step_size=0.3, n_warmup_steps=warmup)
    problem, method = Problem(dtype=F64), ExcessMTL(0.3, warmup)
    for number in range(8):
        problem.batch()
        rows = problem.flat()
        expected = theirs(rows)
        problem.net.zero_grad()
        method.backward(problem.losses(), problem.parameters)
        torch.testing.assert_close(flat_grad(problem.shared), expected @ rows, rtol=1e-6, atol=1e-9)
        uneven = float(expected.max() - expected.min())
        assert (uneven > 0.01) == (number >= warmup)


def test_an_absent_task_keeps_its_weight_against_the_others() -> None:
    problem, method = Problem(dtype=F64), ExcessMTL()
    for absent in ((), (), ("a",), ("a",)):
        problem.batch()
        method.backward(problem.losses(absent), problem.parameters)
    shares = np.exp(list(method.logs.values()))
    assert shares.sum() == pytest.approx(3)
    two: Any = ExcessMTL()
    two.load_state_dict(method.state_dict())
    before = two.logs["a"]
    problem.batch()
    two.backward(problem.losses(("a",)), problem.parameters)
    assert two.logs["a"] == before
    assert np.exp(list(two.logs.values())).sum() == pytest.approx(3)


def test_heads_are_weighted() -> None:
    problem, method = Problem(dtype=F64), ExcessMTL()
    method.backward(problem.losses(), problem.parameters)
    head = problem.net.heads["b"].weight
    plain = torch.autograd.grad(problem.losses()["b"], head)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(head.grad, plain / 3)


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="step_size=0"):
        ExcessMTL(0)
    with pytest.raises(ValueError, match="warmup=0"):
        ExcessMTL(warmup=0)
    w = torch.zeros(1, requires_grad=True)
    with pytest.raises(FloatingPointError, match="the gradient of a is not finite"):
        ExcessMTL().backward({"a": w.sqrt().sum(), "b": w.sum()}, [w])
