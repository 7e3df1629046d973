from __future__ import annotations

import torch
from optim.problems import Problem

from dominance.optim import EqualWeight

torch.set_num_threads(1)


def test_the_same_as_backward_of_the_sum_to_the_bit() -> None:
    ours, plain = Problem(), Problem()
    EqualWeight().backward(ours.losses(), ours.parameters)
    torch.stack([loss for loss in plain.losses().values() if loss is not None]).sum().backward()
    for p, q in zip(ours.parameters, plain.parameters, strict=True):
        assert p.grad is not None
        assert torch.equal(p.grad, q.grad)  # type: ignore[arg-type]


def test_an_absent_task_leaves_its_head_without_gradient() -> None:
    problem = Problem()
    EqualWeight().backward(problem.losses(absent=["b"]), problem.parameters)
    assert [p.grad is None for p in problem.net.heads["b"].parameters()] == [True, True]
    assert [p.grad is None for p in problem.net.heads["a"].parameters()] == [False, False]
