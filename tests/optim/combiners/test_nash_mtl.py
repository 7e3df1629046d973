from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from optim.matrices import INDEPENDENT, Matrix, matrices
from optim.problems import Problem, flat_grad
from optim.properties import assert_no_conflict, bargaining_residual

from dominance.optim import NashMTL

TASKS = tuple("abcdefghijkl")


def weights(gram: Matrix, max_norm: float | None = None) -> Matrix:
    return NashMTL(max_norm=max_norm).weights(gram, np.ones(len(gram)), TASKS[: len(gram)])


def test_equation() -> None:
    for _, g in matrices(150, kinds=INDEPENDENT):
        gram = g @ g.T
        alpha = weights(gram)
        assert bargaining_residual(gram, alpha) <= 1e-8
        assert_no_conflict(g, alpha)
        assert np.linalg.norm(alpha @ g) == pytest.approx(len(g) ** 0.5)
        assert weights(gram, 1.0) == pytest.approx(alpha / len(g) ** 0.5)
        assert weights(gram * 1e6) == pytest.approx(alpha / 1e3)


def test_zero_gradient_keeps_its_weight() -> None:
    method = NashMTL(max_norm=None)
    method.alphas = {"a": 1.0, "b": 5.0}
    assert method.weights(np.diag([4.0, 0.0]), np.ones(2), ("a", "b")) == pytest.approx([0.5, 5])
    assert method.failures == 0


def test_one_task_has_its_closed_form_and_is_no_failure() -> None:
    w = torch.ones(2, requires_grad=True)
    method = NashMTL(max_norm=None)
    method.backward({"a": (3 * w).sum()}, [w])  # nothing is known to be shared: plain
    assert w.grad is not None
    assert (w.grad.tolist(), method.alphas, method.failures) == ([3, 3], {}, 0)
    method.backward({"a": (3 * w).sum(), "b": (w**2).sum()}, [w])
    w.grad = None
    method.backward({"a": (4 * w).sum()}, [w])
    assert w.grad is not None
    assert w.grad.tolist() == pytest.approx([0.5**0.5, 0.5**0.5])
    assert method.failures == 0


def test_failure_is_counted_and_said_once() -> None:
    method = NashMTL(max_norm=None)
    good, bad = np.diag([1.0, 4.0]), np.array([[1.0, -1.0], [-1.0, 1.0]])
    before = method.weights(good, np.ones(2), ("a", "b"))
    with pytest.warns(RuntimeWarning, match=r"Nash-MTL, step 1: .* opposite"):
        assert method.weights(bad, np.ones(2), ("a", "b")).tolist() == before.tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.weights(bad, np.ones(2), ("a", "b"))
    assert method.failures == 2


def test_every_and_absent_tasks() -> None:
    method = NashMTL(every=3, max_norm=None)
    first = method.weights(np.diag([1.0, 4.0]), np.ones(2), ("a", "b"))
    assert method.weights(np.diag([9.0, 9.0]), np.ones(2), ("a", "b")).tolist() == first.tolist()
    assert method.weights(np.diag([9.0]), np.ones(1), ("b",)).tolist() == [first[1]]
    fourth = method.weights(np.diag([9.0]), np.ones(1), ("b",))
    assert fourth == pytest.approx([1 / 3])
    assert method.alphas == {"a": first[0], "b": fourth[0]}
    # A new task is not made to wait.
    assert "c" not in method.alphas
    method.weights(np.diag([1.0, 1.0]), np.ones(2), ("b", "c"))
    assert "c" in method.alphas


@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize("through", [False, True])
def test_a_step_that_keeps_the_weights_is_one_plain_pass(through: bool, max_norm: float | None) -> None:
    """The twin finds zeros in ``.grad`` and makes K passes."""
    torch.set_num_threads(1)
    problem, twin = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    method, slow = NashMTL(every=3, max_norm=max_norm), NashMTL(every=3, max_norm=max_norm)
    passes: list[int] = []
    problem.net.trunk[0].weight.register_hook(lambda gradient: passes.append(1))
    for absent in ((), (), (), (), ("a",), (), ()):
        passes.append(0)
        for each, one in ((problem, method), (twin, slow)):
            each.batch()
            each.net.zero_grad()
            if one is slow:
                for p in each.parameters:
                    p.grad = torch.zeros_like(p)
            losses = each.losses(absent)
            one.backward(losses, each.parameters, representation=each.representation if through else None)
        torch.testing.assert_close(flat_grad(problem.parameters), flat_grad(twin.parameters))
    assert passes == ([0, 1] * 7 if through else [0, 1, 1, 1, 0, 1, 0, 1] * 2 + [0, 1, 1, 1])
    assert (method.steps, method.alphas) == (slow.steps, slow.alphas)


def test_heads_are_weighted_but_not_clipped() -> None:
    torch.set_num_threads(1)
    problem = Problem(scales=(1.0, 10.0))
    method = NashMTL(max_norm=1e-3)
    method.backward(problem.losses(), problem.parameters)
    net = problem.net
    shared = torch.cat([p.grad.flatten() for p in net.trunk.parameters() if p.grad is not None])
    assert float(shared.norm()) == pytest.approx(1e-3, rel=1e-4)
    for task, loss in problem.losses().items():
        assert loss is not None
        weight = net.heads[task].weight
        plain = torch.autograd.grad(loss, weight, retain_graph=True)[0]
        torch.testing.assert_close(weight.grad, method.alphas[task] * plain, rtol=1e-5, atol=1e-7)


def test_state_goes_on_to_the_bit() -> None:
    method = NashMTL(every=2)
    method.weights(np.diag([1.0, 4.0]), np.ones(2), ("a", "b"))
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    other = NashMTL(every=2)
    other.load_state_dict(torch.load(file, weights_only=True))
    twin = copy.deepcopy(method)
    for number in range(4):
        gram = np.array([[1.0 + number, 0.3], [0.3, 2.0]])
        again, expected = (each.weights(gram, np.ones(2), ("a", "b")) for each in (other, twin))
        assert again.tolist() == expected.tolist()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="every"):
        NashMTL(every=0)
    with pytest.raises(ValueError, match="max_norm"):
        NashMTL(max_norm=0)


@pytest.mark.filterwarnings("ignore")
def test_against_torchjd() -> None:
    """Their sequence of convex problems ends near the same weights, and never closer to the equation."""
    torchjd = pytest.importorskip("torchjd.aggregation")
    pytest.importorskip("ecos")
    for _, g in matrices(25, kinds=("random", "agreeing"), sizes=range(2, 5), seed=3):
        gram = g @ g.T
        found = weights(gram)
        # Their weighting is private: the aggregation is what can be compared.
        other = torchjd.NashMTL(n_tasks=len(g), max_norm=0.0, optim_niter=20)(torch.from_numpy(g)).numpy()
        their_weights = np.linalg.lstsq(g.T, other)[0]
        assert bargaining_residual(gram, found) <= bargaining_residual(gram, their_weights) + 1e-12
        np.testing.assert_allclose(found, their_weights, rtol=2e-2)
