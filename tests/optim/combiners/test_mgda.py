from __future__ import annotations

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, matrices
from optim.problems import Problem

from dominance.optim import MGDA
from dominance.optim.engine.gradients import task_gradients


def test_by_hand() -> None:
    gram, losses = np.diag([1.0, 4.0]), np.array([1.0, 4.0])
    assert MGDA().weights(gram, losses, ("a", "b")) == pytest.approx([0.8, 0.2])
    # Divided by the norms 1 and 2, by the losses 1 and 4, by both.
    assert MGDA("l2").weights(gram, losses, ("a", "b")) == pytest.approx([0.5, 0.5])
    assert MGDA("loss").weights(gram, losses, ("a", "b")) == pytest.approx([0.2, 0.8])
    assert MGDA("loss+").weights(gram, losses, ("a", "b")) == pytest.approx([1 / 17, 16 / 17])


def test_a_zero_gradient_takes_all() -> None:
    assert MGDA("l2").weights(np.diag([1.0, 0.0]), np.ones(2), ("a", "b")).tolist() == [0, 1]


def test_losses_must_be_positive() -> None:
    with pytest.raises(ValueError, match="b has -1"):
        MGDA("loss").weights(np.eye(2), np.array([1.0, -1.0]), ("a", "b"))
    with pytest.raises(ValueError, match="normalization is 'l3'"):
        MGDA("l3")  # type: ignore[arg-type]


def test_heads_get_the_weight_too() -> None:
    torch.set_num_threads(1)
    problem = Problem()
    losses = problem.losses()
    gradients = task_gradients(losses, problem.parameters)
    weights = MGDA().weights(gradients.gram(), gradients.loss_values(), gradients.tasks)
    MGDA().backward(problem.losses(), problem.parameters)
    expected = torch.autograd.grad(
        sum(float(w) * loss for w, loss in zip(weights, problem.losses().values(), strict=True)),  # type: ignore[arg-type,operator,misc]
        problem.parameters,
    )
    for parameter, gradient in zip(problem.parameters, expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_against_torchjd() -> None:
    """Frank and Wolfe's steps never find a shorter vector; of two tasks they find the same weights."""
    torchjd = pytest.importorskip("torchjd.aggregation")
    theirs = torchjd.MGDAWeighting(max_iters=20)
    for kind, g in matrices(400, sizes=(2, 2, 2, 3, 4, 8)):
        gram = g @ g.T
        found = MGDA().weights(gram, np.ones(len(g)), tuple("abcdefghijkl"[: len(g)]))
        other = theirs(torch.from_numpy(gram)).numpy()
        assert found @ gram @ found <= other @ gram @ other + 1e-14 * gram.max()
        if len(g) == 2 and kind in INDEPENDENT:
            np.testing.assert_allclose(found, other, atol=1e-9)


def test_a_zero_gradient_of_shared_parameters_stays_in() -> None:
    """Unlike a task that does not reach them at all."""
    w, apart = (torch.tensor([2.0], dtype=torch.float64, requires_grad=True) for _ in range(2))
    MGDA().backward({"a": (w**2).sum(), "b": 0 * w.sum(), "c": apart.sum()}, [w, apart])
    assert w.grad is not None
    assert apart.grad is not None
    assert (w.grad.item(), apart.grad.item()) == (0, 1)
