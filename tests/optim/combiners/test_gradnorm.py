from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from optim.problems import TASKS, Problem, flat_grad
from torch import Tensor, nn

from dominance.optim import GradNorm
from dominance.optim.engine.gradients import listeners, task_gradients

torch.set_num_threads(1)
F64 = torch.float64


def brute(problem: Problem, weights: list[nn.Parameter], first: list[float], alpha: float, layer: Tensor) -> Tensor:
    """Eq. 1-2 as the paper writes them, differentiated by autograd."""
    losses = [loss for loss in problem.losses().values() if loss is not None]
    norms = []
    for w, loss in zip(weights, losses, strict=True):
        (g,) = torch.autograd.grad(w * loss, layer, retain_graph=True, create_graph=True)
        norms.append(g.norm())
    ratios = torch.tensor([float(loss.detach()) / l0 for loss, l0 in zip(losses, first, strict=True)], dtype=F64)
    target = torch.stack(norms).mean().detach() * (ratios / ratios.mean()) ** alpha
    return (torch.stack(norms) - target).abs().sum()


@pytest.mark.parametrize("through", ["backward", "combine"])
@pytest.mark.parametrize("alpha", [0.12, 1.5])
def test_as_the_paper_over_ten_steps(through: str, alpha: float) -> None:
    ours, plain = Problem(dtype=F64), Problem(dtype=F64)
    gradnorm = GradNorm(alpha)
    weights = [nn.Parameter(torch.ones((), dtype=F64)) for _ in range(3)]
    adam = torch.optim.Adam(weights, lr=0.025)
    first: list[float] = []
    layer = plain.net.trunk[2].weight
    steps = [torch.optim.SGD(p.parameters, lr=0.01) for p in (ours, plain)]
    for _ in range(10):
        ours.batch()
        plain.batch()
        for step in steps:
            step.zero_grad()
        if through == "backward":
            gradnorm.backward(ours.losses(), ours.parameters)
        else:
            rows = gradnorm.combine(task_gradients(ours.losses(), ours.parameters))
            for p, g in zip(ours.parameters, rows.total(), strict=True):
                p.grad = g
        first = first or [float(loss.detach()) for loss in plain.losses().values() if loss is not None]
        slopes = torch.autograd.grad(brute(plain, weights, first, alpha, layer), weights)
        losses = [loss for loss in plain.losses().values() if loss is not None]
        torch.stack([w.detach() * loss for w, loss in zip(weights, losses, strict=True)]).sum().backward()
        torch.testing.assert_close(flat_grad(ours.parameters), flat_grad(plain.parameters))
        for w, slope in zip(weights, slopes, strict=True):
            w.grad = slope
        adam.step()
        with torch.no_grad():
            scale = 3 / torch.stack([*weights]).sum()
            for w in weights:
                w.mul_(scale)
        np.testing.assert_allclose([gradnorm.learnt[t] for t in TASKS], [w.item() for w in weights], rtol=1e-9)
        for step in steps:
            step.step()
    assert gradnorm.learnt["b"] < 1 < gradnorm.learnt["c"]  # the losses are scaled by 1, 10 and 0.1


def test_two_tasks_by_hand() -> None:
    """Norms 4 and 1 at the start, mean 2.5, ratios 1: the first goes down by Adam's first step, the second up."""
    w = torch.tensor([1.0, 1.0], dtype=F64, requires_grad=True)
    gradnorm = GradNorm()
    gradnorm.backward({"a": 4 * w[0] + 0 * w[1], "b": w[1] + 0 * w[0]}, [w])
    assert w.grad is not None
    assert w.grad.tolist() == [4.0, 1.0]
    assert gradnorm.learnt == pytest.approx({"a": 0.975, "b": 1.025})


def test_norms_are_balanced_in_the_end() -> None:
    w = torch.tensor([1.0, 1.0], dtype=F64, requires_grad=True)
    gradnorm = GradNorm(alpha=0.0)
    for _ in range(120):
        gradnorm.backward({"a": 30 * w[0] + 0 * w[1], "b": w[1] + 0 * w[0]}, [w])
    scaled = np.array([30 * gradnorm.learnt["a"], gradnorm.learnt["b"]])
    assert scaled[0] / scaled[1] == pytest.approx(1, abs=0.7)
    assert sum(gradnorm.learnt.values()) == pytest.approx(2)


def test_which_layer() -> None:
    problem = Problem()
    gradnorm = GradNorm()
    for absent in ((), ("a", "b")):  # known to be shared also where one task is alone
        losses = {task: loss for task, loss in problem.losses(absent).items() if loss is not None}
        reached = gradnorm._reached(losses, problem.parameters, problem.parameters)

        def reaches(found: Any = reached) -> Any:
            return found

        (layer,) = gradnorm._layer(problem.parameters, "c", reaches)
        assert layer is problem.net.trunk[2].weight
    found = []
    for given in ([problem.net.trunk[0].weight], problem.net.trunk[0].parameters, None):
        one = GradNorm(layer=given)
        one.backward(problem.losses(), problem.parameters)
        found.append([one.moments[t][0] for t in TASKS])
    assert found[0] != found[1] != found[2]
    with pytest.raises(ValueError, match="not among the parameters"):
        GradNorm(layer=[torch.zeros(3, requires_grad=True)]).combine(
            task_gradients(problem.losses(), problem.parameters)
        )


def test_a_parameter_and_a_module_are_a_layer() -> None:
    def first_slopes(pick: Callable[[nn.Linear], Any]) -> list[float]:
        problem = Problem()
        gradnorm = GradNorm(layer=pick(problem.net.trunk[0]))
        gradnorm.backward(problem.losses(), problem.parameters)
        return [gradnorm.moments[task][0] for task in TASKS]

    of_weight = first_slopes(lambda layer: [layer.weight])
    assert first_slopes(lambda layer: layer.weight) == first_slopes(lambda layer: lambda: layer.weight) == of_weight
    of_module = first_slopes(lambda layer: list(layer.parameters()))
    assert first_slopes(lambda layer: layer) == first_slopes(nn.Sequential) == of_module != of_weight


def test_a_layer_that_no_task_reaches_is_refused() -> None:
    problem, other = Problem(), nn.Linear(2, 2)
    with pytest.raises(ValueError, match="reached by none of the tasks a, b, c"):
        GradNorm(layer=other).backward(problem.losses(), problem.parameters)
    gradients = task_gradients(problem.losses(), [*problem.parameters, other.weight])
    with pytest.raises(ValueError, match="reached by none"):
        GradNorm(layer=other.weight).combine(gradients)


def test_a_task_that_does_not_reach_the_layer_keeps_its_weight() -> None:
    w = torch.tensor([1.0, 1.0], dtype=F64, requires_grad=True)
    alone = torch.ones((), dtype=F64, requires_grad=True)
    gradnorm = GradNorm(layer=w)
    gradnorm.backward({"a": 4 * w[0], "b": w[1] * 1, "c": alone * 1}, [w, alone])
    assert gradnorm.learnt == pytest.approx({"a": 0.975, "b": 1.025})


def test_a_layer_may_be_frozen_when_training_goes_on() -> None:
    problem, gradnorm, resumed = Problem(), GradNorm(), GradNorm()
    gradnorm.backward(problem.losses(), problem.parameters)
    resumed.load_state_dict(gradnorm.state_dict())
    problem.net.trunk[0].requires_grad_(False)
    for one in (gradnorm, resumed):
        one.backward(problem.losses(["a", "b"]), problem.net)
        one.backward(problem.losses(), problem.net)
    assert gradnorm.learnt == resumed.learnt


def test_a_weight_does_not_pass_zero() -> None:
    w = torch.tensor([1.0, 1.0], dtype=F64, requires_grad=True)
    gradnorm = GradNorm(alpha=0.0, lr=0.5)
    for _ in range(50):
        gradnorm.backward({"a": 1e6 * w[0] + 0 * w[1], "b": w[1] + 0 * w[0]}, [w])
        assert min(gradnorm.learnt.values()) > 0


def test_an_absent_task_keeps_its_weight_and_one_task_is_plain() -> None:
    problem, gradnorm = Problem(dtype=F64), GradNorm()
    gradnorm.backward(problem.losses(), problem.parameters)
    before, moments = dict(gradnorm.learnt), {task: list(m) for task, m in gradnorm.moments.items()}
    gradnorm.backward(problem.losses(absent=["c"]), problem.parameters)
    assert gradnorm.learnt["c"] == before["c"]
    assert gradnorm.moments["c"] == moments["c"]
    assert gradnorm.learnt["a"] != before["a"]
    assert sum(gradnorm.learnt.values()) == pytest.approx(3)
    alone, only = Problem(dtype=F64), GradNorm()
    for _ in range(3):
        alone.net.zero_grad()
        only.backward(alone.losses(absent=["b", "c"]), alone.parameters)
    torch.testing.assert_close(flat_grad(alone.shared), alone.flat(absent=["b", "c"])[0])
    assert only.loss_weights(np.ones(1), "a").tolist() == [1.0]


def test_losses_that_have_no_ratio() -> None:
    one = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="first one, and that of b is zero"):
        GradNorm().backward({"a": one * 1, "b": one * 0}, [one])
    with pytest.raises(ValueError, match="b has -1"):
        GradNorm().backward({"a": one * 1, "b": -one}, [one])
    with pytest.raises(FloatingPointError, match="b has inf"):
        GradNorm().backward({"a": one * 1, "b": one * math.inf}, [one])
    two = torch.ones((), requires_grad=True)
    with pytest.raises(ValueError, match="a, b share no parameter"):
        GradNorm().backward({"a": one * 1, "b": two * 1}, [one, two])


class Counting:
    """A listener that notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def own_passes(self) -> Iterator[None]:
        self.told.append("own passes")
        yield

    def observe(self, losses: dict[str, Tensor]) -> None:
        self.told.append("observe")


def test_the_last_pass_is_an_ordinary_one_and_listening_changes_no_bit() -> None:
    quiet, loud = Problem(), Problem()
    one, two = GradNorm(), GradNorm()
    listener = Counting()
    for _ in range(3):
        one.backward(quiet.losses(), quiet.parameters)
        listeners.append(listener)  # type: ignore[arg-type]
        try:
            two.backward(loud.losses(), loud.parameters)
        finally:
            listeners.remove(listener)  # type: ignore[arg-type]
    assert listener.told == ["own passes", "observe"] * 3
    assert torch.equal(flat_grad(quiet.parameters), flat_grad(loud.parameters))
    assert one.learnt == two.learnt
