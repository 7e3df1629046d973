from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from optim.problems import Problem, flat_grad

from dominance.optim import FAMO
from dominance.optim.engine.scalar_adam import ScalarAdam, State

torch.set_num_threads(1)
F64 = torch.float64


def tensors(*values: float) -> dict[str, torch.Tensor | None]:
    return {task: torch.tensor(value, dtype=F64) for task, value in zip("abc", values, strict=False)}


def test_two_tasks_by_hand() -> None:
    famo = FAMO(lr=0.1, weight_decay=0.0)
    np.testing.assert_allclose(famo.loss_weights(np.array([1.0, 3.0]), "ab"), [0.75, 0.25], rtol=1e-7)
    famo.after_step(tensors(0.5, 3.0))
    # delta = z (d - z.d) with d = (log 2, 0), z = 1/2: (log 2 / 4, -log 2 / 4); Adam's first step is lr * sign
    assert famo.logits == pytest.approx({"a": -0.1, "b": 0.1}, abs=1e-6)
    z = np.exp([-0.1, 0.1]) / np.exp([-0.1, 0.1]).sum()
    w = z / [2.0, 4.0]
    np.testing.assert_allclose(famo.loss_weights(np.array([2.0, 4.0]), "ab"), w / w.sum(), rtol=1e-6)


@pytest.mark.parametrize("bounds", [0.0, {"a": -1.0, "c": 0.05}])
def test_the_same_as_torchjd_over_twenty_steps(bounds: float | dict[str, float]) -> None:
    scalarization = pytest.importorskip("torchjd.scalarization")
    least = torch.tensor([bounds.get(t, 0.0) if isinstance(bounds, dict) else bounds for t in "abc"], dtype=F64)
    peer, ours = scalarization.FAMO(3, min_losses=least).double(), FAMO(min_losses=bounds)
    rng = np.random.default_rng(0)
    for _ in range(20):
        losses = (rng.exponential(size=3) + 0.1) * [1.0, 100.0, 1.0]
        values = torch.from_numpy(losses).requires_grad_()
        (expected,) = torch.autograd.grad(peer(values), values)
        np.testing.assert_allclose(ours.loss_weights(losses, "abc"), expected, rtol=1e-9)
        after = losses * rng.uniform(0.8, 1.05, size=3)
        peer.update(torch.from_numpy(after))
        ours.after_step(tensors(*after))


def test_the_logits_adam_is_torch_adam() -> None:
    parameter = torch.nn.Parameter(torch.tensor([0.3, -0.2], dtype=F64))
    optimizer = torch.optim.Adam([parameter], lr=0.02, weight_decay=0.1)
    adam, state = ScalarAdam(0.02, weight_decay=0.1), State()
    values = {"a": 0.3, "b": -0.2}
    rng = np.random.default_rng(0)
    for _ in range(50):
        gradient = rng.standard_normal(2)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        values |= adam.step(values, dict(zip("ab", gradient.tolist(), strict=True)), state)
    np.testing.assert_allclose(list(values.values()), parameter.detach(), rtol=1e-12)


def test_it_lifts_the_task_that_falls_slowest() -> None:
    """Minimise two quadratics, one 100 times as steep: with FAMO both have fallen by the same factor."""
    ratios = {}
    for use in (False, True):
        w = torch.ones(2, dtype=F64, requires_grad=True)
        optimizer, famo = torch.optim.SGD([w], lr=2e-3), FAMO(lr=0.05)

        def losses(w: torch.Tensor = w) -> dict[str, torch.Tensor | None]:
            return {"a": 100 * w[0] ** 2, "b": w[1] ** 2}

        for _ in range(120):
            optimizer.zero_grad()
            famo.backward(losses(), [w])
            optimizer.step()
            if use:
                famo.after_step(losses())
            else:
                famo._still.moved = True  # on purpose
        ratios[use] = float(abs(torch.log(w[1].detach() / w[0].detach())))
    assert ratios[True] < 0.5 * ratios[False] or ratios[True] < 0.05


def test_the_gradient_is_that_of_the_weighted_sum() -> None:
    problem, famo = Problem(dtype=F64), FAMO()
    losses = problem.losses()
    weights = FAMO().loss_weights(np.array([float(x.detach()) for x in losses.values() if x is not None]), "abc")
    famo.backward(losses, problem.parameters)
    torch.testing.assert_close(flat_grad(problem.shared), torch.from_numpy(weights) @ problem.flat())
    assert weights.sum() == pytest.approx(1)


def test_an_absent_task_keeps_its_logit_and_moments() -> None:
    famo = FAMO()
    famo.loss_weights(np.array([1.0, 2.0, 3.0]), "abc")
    famo.after_step(tensors(0.5, 1.9, 3.0))
    logit, moments = famo.logits["c"], list(famo.moments["c"])
    famo.loss_weights(np.array([1.0, 2.0]), "ab")
    famo.after_step({"a": torch.tensor(0.5), "b": torch.tensor(1.0), "c": None})
    assert (famo.logits["c"], famo.moments["c"]) == (logit, moments)
    assert famo.moments["a"][2] == 2


def test_what_cannot_be() -> None:
    famo = FAMO(min_losses={"b": 1.0})
    with pytest.raises(ValueError, match=r"loss minus its lower bound.*: b has 0"):
        famo.loss_weights(np.array([1.0, 1.0]), "ab")
    with pytest.raises(FloatingPointError, match="a has nan"):
        famo.loss_weights(np.array([math.nan, 2.0]), "ab")
    with pytest.raises(ValueError, match="after backward"):
        famo.after_step(tensors(1.0, 2.0))
    assert famo.loss_weights(np.array([7.0]), "a").tolist() == [1.0]


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        ([1.0, 2.0], TypeError, "losses is a list"),
        ({"a": 1.0}, TypeError, "'a' is a float, not a tensor"),
        ({0: torch.ones(())}, TypeError, "0 is no string"),
        ({"a": torch.ones(2)}, ValueError, r"'a' has shape \(2,\)"),
        ({"a": torch.ones(()), "z": torch.ones(())}, ValueError, "that of z was not in it"),
        ({"a": None, "b": None}, ValueError, "batch a, b again: none is given"),
    ],
)
def test_what_after_step_does_not_take(losses: Any, error: type[Exception], message: str) -> None:
    famo = FAMO()
    famo.loss_weights(np.array([1.0, 2.0]), "ab")
    with pytest.raises(error, match=message):
        famo.after_step(losses)
    famo.after_step(tensors(1.0, 2.0))


def test_a_forgotten_after_step_is_warned_of_once() -> None:
    forgotten, called = FAMO(), FAMO()

    def passes(famo: FAMO) -> None:
        for _ in range(450):
            famo.loss_weights(np.array([1.0, 2.0]), "ab")

    with pytest.warns(RuntimeWarning, match="after_step") as told:
        passes(forgotten)
    assert len(told) == 1
    called.loss_weights(np.array([1.0, 2.0]), "ab")
    called.after_step(tensors(1.0, 2.0))
    passes(called)
