"""What the gradients that an optimizer is fed are made of; every truth is worked out from the gradients put in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.record.ledger import Call, Ledger, joined

torch.set_num_threads(1)
Gradients = dict[str, dict[Tensor, Tensor]]


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def call(root: str, gradients: Gradients, *, weight: float = 1.0, loss: float = 1.0, expanded: bool = False) -> Call:
    names = list(gradients)
    weights, losses = dict.fromkeys(names, weight), dict.fromkeys(names, weight * loss)
    return Call(root, sum(losses.values()), expanded, gradients, weights, losses)


def backward(ledger: Ledger, made: Call) -> None:
    """Add the call's gradients to ``.grad``, as backward() does, and note it."""
    parameters = {p for gradients in made.gradients.values() for p in gradients}
    for gradients in made.gradients.values():
        for p, g in gradients.items():
            p.grad = g.clone() if p.grad is None else p.grad + g
    ledger.note(made, parameters)


def two_tasks() -> tuple[Ledger, Tensor]:
    p = leaf(0, 0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.tensor([3.0, 1.0])}, "b": {p: torch.tensor([1.0, -5.0])}}))
    return ledger, p


def parts(split: object) -> dict[str, list[float]]:
    return {name: g.tolist() for name, g in split.tasks.items()}


def test_gradients_as_backward_left_them() -> None:
    ledger, p = two_tasks()
    resolved = ledger.resolve([p])
    assert parts(resolved.splits[p]) == {"a": [3, 1], "b": [1, -5]}
    assert resolved.splits[p].residual is None
    assert resolved.totals[p].tolist() == [4, -4]
    assert resolved.weight == {"a": 1, "b": 1}
    assert resolved.loss == {"a": 1, "b": 1}
    assert resolved.total == 2


@pytest.mark.parametrize("factor", [0.25, 1024.0, -1.0, 1e-12])
def test_scaled(factor: float) -> None:
    """Unscaled by GradScaler, clipped by norm, turned round by a gradient reversal."""
    ledger, p = two_tasks()
    p.grad *= factor
    resolved = ledger.resolve([p])
    torch.testing.assert_close(resolved.splits[p].tasks["a"], factor * torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(resolved.splits[p].tasks["b"], factor * torch.tensor([1.0, -5.0]))
    assert resolved.splits[p].residual is None
    assert resolved.weight == pytest.approx({"a": factor, "b": factor})
    assert resolved.loss == {"a": 1, "b": 1}


def test_scaled_apart() -> None:
    """Each parameter by a factor of its own: no one weight is left."""
    p, q = leaf(0), leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.ones(1), q: torch.ones(1)}}))
    p.grad *= 2
    resolved = ledger.resolve([p, q])
    assert [parts(resolved.splits[x])["a"] for x in (p, q)] == [[2], [1]]
    assert math.isnan(resolved.weight["a"])


def test_clipped_by_value() -> None:
    p = leaf(0, 0, 0)
    ledger = Ledger()
    gradients = {"a": {p: torch.tensor([3.0, 0.5, 0.0])}, "b": {p: torch.tensor([1.0, -2.5, 0.0])}}
    backward(ledger, call("loss", gradients))
    torch.nn.utils.clip_grad_value_([p], 1.0)
    resolved = ledger.resolve([p])
    assert resolved.totals[p].tolist() == [1, -1, 0]
    np.testing.assert_allclose(resolved.splits[p].tasks["a"], [3 / 4, 1 / 4, 0])
    np.testing.assert_allclose(resolved.splits[p].tasks["b"], [1 / 4, -5 / 4, 0])
    assert resolved.splits[p].residual is None
    assert math.isnan(resolved.weight["a"])


def test_changed_in_another_way_is_residual() -> None:
    """Noise, say; the tasks keep their shares."""
    ledger, p = two_tasks()
    p.grad += torch.tensor([0.5, 7.0])
    resolved = ledger.resolve([p])
    assert parts(resolved.splits[p]) == {"a": [3, 1], "b": [1, -5]}
    assert resolved.splits[p].residual.tolist() == [0.5, 7]


def test_a_regulariser_is_residual() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    made = call("loss", {"a": {p: torch.tensor([3.0, 1.0])}})
    p.grad = torch.tensor([3.5, 1.0])
    ledger.note(made, [p])
    resolved = ledger.resolve([p])
    assert resolved.splits[p].residual.tolist() == [0.5, 0]


def test_a_parameter_that_no_task_reaches() -> None:
    ledger, p = two_tasks()
    q = leaf(0)
    q.grad = torch.tensor([2.0])
    resolved = ledger.resolve([p, q, leaf(1)])
    assert set(resolved.totals) == {p, q}
    assert resolved.splits[q].tasks == {}
    assert resolved.splits[q].residual.tolist() == [2]


def test_micro_batches_add_up() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    for x in (1.0, 2.0, 4.0):
        gradients = {"a": {p: torch.tensor([x, 0])}, "b": {p: torch.tensor([0, 10 * x])}}
        backward(ledger, call("loss", gradients, weight=0.25, loss=x))
    resolved = ledger.resolve([p])
    assert len(ledger.fed) == 1
    assert ledger.fed[0].passes == 3
    assert parts(resolved.splits[p]) == {"a": [7, 0], "b": [0, 70]}
    assert resolved.weight == {"a": 0.75, "b": 0.75}
    assert resolved.loss == pytest.approx({"a": 7 / 3, "b": 7 / 3})
    assert resolved.total == pytest.approx(2 * 0.25 * 7)


def test_micro_batches_of_which_one_lacks_a_task() -> None:
    p = leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.ones(1)}, "b": {p: torch.ones(1)}}))
    backward(ledger, call("loss", {"a": {p: torch.ones(1)}}, loss=3))
    resolved = ledger.resolve([p])
    assert parts(resolved.splits[p]) == {"a": [2], "b": [1]}
    assert resolved.weight == {"a": 2, "b": 1}
    assert resolved.loss == {"a": 2, "b": 1}


# Mixtures that the script makes itself


def mixed(gradients: list[list[float]], fed: list[float]) -> tuple[Ledger, Tensor]:
    """One backward() for each task, zeroed again, then a gradient of the script's own."""
    p = leaf(*([0.0] * len(fed)))
    ledger = Ledger()
    for k, gradient in enumerate(gradients):
        backward(ledger, call(f"t{k}", {f"t{k}": {p: torch.tensor(gradient)}}))
        p.grad = None
        ledger.set_aside(ledger.emptied())
    p.grad = torch.tensor(fed)
    return ledger, p


def test_a_mixture_of_zeroed_gradients() -> None:
    g = [[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]
    ledger, p = mixed(g, [2.0, 7.0, -3.0])
    resolved = ledger.resolve([p])
    np.testing.assert_allclose(
        [resolved.splits[p].tasks[f"t{k}"] for k in range(2)], [[2, 4, 0], [0, 3, -3]], rtol=1e-5
    )
    assert resolved.splits[p].residual is None
    assert resolved.weight == pytest.approx({"t0": 2, "t1": 3})
    assert resolved.loss == {"t0": 1, "t1": 1}


def test_what_is_no_mixture_is_residual() -> None:
    """The nearest mixture, by least squares; the rest is at right angles to every task."""
    g, fed = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]), np.array([1.0, 0.0, 5.0])
    ledger, p = mixed(g.tolist(), fed.tolist())
    split = ledger.resolve([p]).splits[p]
    w = np.linalg.lstsq(g.T, fed, rcond=None)[0]
    np.testing.assert_allclose([split.tasks[f"t{k}"] for k in range(2)], w[:, None] * g, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(split.residual, fed - w @ g, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "g", [[[1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]
)
def test_gradients_that_depend_on_each_other(g: list[list[float]]) -> None:
    """Of all mixtures that fit, the smallest: no task gets a huge share that another takes back."""
    ledger, p = mixed(g, [3.0, 3.0])
    split = ledger.resolve([p]).splits[p]
    w = np.linalg.lstsq(np.array(g).T, [3.0, 3.0], rcond=None)[0]
    found = np.array([split.tasks.get(f"t{k}", torch.zeros(2)).numpy() for k in range(len(g))])
    np.testing.assert_allclose(found, w[:, None] * np.array(g), atol=1e-5)
    assert split.residual is None


def test_gradients_taken_with_autograd_grad() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    for name, gradient in (("a", [1.0, 0.0]), ("b", [0.0, 1.0])):
        ledger.note_taken(call(name, {name: {p: torch.tensor(gradient)}}, weight=1, loss=4))
    assert ledger
    assert ledger.roots == set()
    p.grad = torch.tensor([0.5, 2.0])
    resolved = ledger.resolve([p])
    assert resolved.weight == pytest.approx({"a": 0.5, "b": 2})
    assert resolved.loss == {"a": 4, "b": 4}


def shared_mixed() -> tuple[Ledger, Tensor, Tensor, Tensor]:
    """Two tasks with a backward() each; the trunk is zeroed after each, and gets a mixture; the heads are left."""
    trunk, head_a, head_b = leaf(0, 0), leaf(0), leaf(0)
    ledger = Ledger()
    g = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.0, 1.0])}
    for name, head in (("a", head_a), ("b", head_b)):
        backward(ledger, call(name, {name: {trunk: g[name], head: torch.ones(1)}}))
        trunk.grad = torch.zeros(2)
        assert ledger.emptied() == {trunk}
        ledger.set_aside({trunk})
    trunk.grad = torch.tensor([2.0, 3.0])
    return ledger, trunk, head_a, head_b


def test_only_the_shared_parameters_are_mixed() -> None:
    ledger, trunk, head_a, head_b = shared_mixed()
    resolved = ledger.resolve([trunk, head_a, head_b])
    np.testing.assert_allclose(resolved.splits[trunk].tasks["a"], [2, 0], atol=1e-6)
    np.testing.assert_allclose(resolved.splits[trunk].tasks["b"], [0, 3], atol=1e-6)
    assert parts(resolved.splits[head_a]) == {"a": [1]}
    assert parts(resolved.splits[head_b]) == {"b": [1]}
    assert resolved.loss == {"a": 1, "b": 1}


def test_the_weights_are_those_of_the_shared_parameters() -> None:
    ledger, *parameters = shared_mixed()
    resolved = ledger.resolve(parameters)
    assert resolved.weight == pytest.approx({"a": 2, "b": 3})
    assert resolved.total == 2


def test_a_replaced_gradient_of_several_losses() -> None:
    """Not zeroed in between: the script writes over the sum."""
    p = leaf(0, 0)
    ledger = Ledger()
    backward(ledger, call("a", {"a": {p: torch.tensor([1.0, 0.0])}}))
    backward(ledger, call("b", {"b": {p: torch.tensor([0.0, 1.0])}}))
    p.grad = torch.tensor([5.0, -1.0])
    resolved = ledger.resolve([p])
    assert resolved.weight == pytest.approx({"a": 5, "b": -1})
    assert resolved.splits[p].residual is None


def test_losses_with_a_backward_each_are_tasks_even_where_one_is_a_sum() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    both = {"ce": {p: torch.tensor([1.0, 0.0])}, "dice": {p: torch.tensor([2.0, 0.0])}}
    for made in (call("seg", both, expanded=True), call("depth", {"depth": {p: torch.tensor([0.0, 1.0])}})):
        backward(ledger, made)
        p.grad = None
        ledger.set_aside(ledger.emptied())
    p.grad = torch.tensor([3.0, 2.0])
    resolved = ledger.resolve([p])
    np.testing.assert_allclose(resolved.splits[p].tasks["seg"], [3, 0], atol=1e-6)
    assert resolved.weight == pytest.approx({"seg": 1, "depth": 2})


def test_collapsed() -> None:
    p, q = leaf(0), leaf(0)
    both = {"ce": {p: torch.ones(1), q: torch.ones(1)}, "dice": {p: torch.ones(1)}}
    one = call("seg", both, loss=2.0, expanded=True).collapsed()
    assert {name: {x: g.item() for x, g in gs.items()} for name, gs in one.gradients.items()} == {"seg": {p: 2, q: 1}}
    assert (one.weight, one.weighted_loss, one.total, one.expanded) == ({"seg": 1}, {"seg": 4}, 4, False)
    assert both["ce"][p].item() == 1, "a new sum"


def test_what_a_sum_adds_to_stays_as_it_was() -> None:
    p, first = leaf(0), torch.ones(1)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: first}}))
    backward(ledger, call("loss", {"a": {p: torch.ones(1)}}))
    assert first.item() == 1


# The life of a step


def test_nothing_is_known_at_first_and_after_clear() -> None:
    ledger, p = two_tasks()
    ledger.note_taken(call("c", {"c": {p: torch.ones(2)}}))
    ledger.frozen = True
    assert ledger.roots == {"loss"}
    ledger.clear()
    assert not ledger
    assert (ledger.fed, ledger.seen, ledger.after, ledger.frozen) == ([], [], {}, False)


def test_emptied() -> None:
    ledger, p = two_tasks()
    q = leaf(0)
    ledger.note(None, [q])
    assert ledger.emptied() == set()
    p.grad = torch.zeros(2)
    assert ledger.emptied() == {p}
    p.grad = None
    assert ledger.emptied() == {p}


def test_overflowed() -> None:
    p = leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.tensor([math.inf])}}))
    assert ledger.overflowed()


def test_a_closure_counts_as_it_was_first_evaluated() -> None:
    ledger, p = two_tasks()
    ledger.frozen = True
    p.grad = torch.tensor([100.0, 100.0])
    resolved = ledger.resolve([p])
    assert resolved.totals[p].tolist() == [4, -4]
    assert resolved.splits[p].residual is None


def test_gradients_that_a_fused_optimizer_unscales_itself() -> None:
    ledger, p = two_tasks()
    resolved = ledger.resolve([p], grad_scale=4.0)
    assert resolved.totals[p].tolist() == [1, -1]
    np.testing.assert_allclose(resolved.splits[p].tasks["a"], [0.75, 0.25])
    assert resolved.weight == pytest.approx({"a": 0.25, "b": 0.25})
    p.grad /= 4  # unscale_ was called before
    assert ledger.resolve([p], grad_scale=4.0).totals[p].tolist() == [1, -1]


def test_half_and_sparse_gradients() -> None:
    p = torch.zeros(2, 2, dtype=torch.bfloat16, requires_grad=True)
    p.grad = torch.ones(2, 2, dtype=torch.bfloat16)
    q = leaf(0, 0)
    q.grad = torch.sparse_coo_tensor([[1]], [3.0], (2,), check_invariants=True).coalesce()
    ledger = Ledger()
    ledger.note(call("loss", {"a": {p: torch.ones(2, 2), q: torch.tensor([0.0, 3.0])}}), [p, q])
    resolved = ledger.resolve([p, q])
    assert resolved.totals[p].dtype == torch.float32
    assert resolved.totals[q].tolist() == [0, 3]
    assert resolved.splits[p].residual is None
    assert resolved.splits[q].residual is None


def test_a_step_of_several_optimizers() -> None:
    ledger, p = two_tasks()
    q = leaf(0)
    backward(ledger, call("loss", {"a": {q: torch.ones(1)}, "b": {q: torch.ones(1)}}))
    first, second = ledger.resolve([p]), ledger.resolve([q])
    loss, weight, total = joined([first, second])
    assert (loss, weight, total) == ({"a": 1, "b": 1}, {"a": 2, "b": 2}, 4)
    assert math.isnan(joined([])[2])
