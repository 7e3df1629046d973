"""What the gradients that an optimizer is fed are made of; every truth is worked out from the gradients put in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.record.split import fed as feeding
from dominance.record.split.fed import Fed
from dominance.record.split.ledger import Ledger
from dominance.record.split.losses import joined, losses_of
from dominance.record.split.passes import Pass

torch.set_num_threads(1)
Gradients = dict[str, dict[Tensor, Tensor]]


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def call(root: str, gradients: Gradients, *, weight: float = 1.0, loss: float = 1.0, expanded: bool = False) -> Pass:
    names = list(gradients)
    weights, losses = dict.fromkeys(names, weight), dict.fromkeys(names, loss)
    return Pass(root, weight * loss * len(names), gradients, weights, losses, expanded)


def backward(ledger: Ledger, made: Pass) -> None:
    """Add the pass's gradients to ``.grad``, as backward() does, and enter it."""
    parameters = {p for gradients in made.gradients.values() for p in gradients}
    ledger.look()
    for gradients in made.gradients.values():
        for p, g in gradients.items():
            p.grad = g.clone() if p.grad is None else p.grad + g
    ledger.enter(made, parameters)


def fed(ledger: Ledger, parameters: Iterable[Tensor]) -> Fed:
    """What a step of these would be fed now."""
    return feeding.fed(ledger, ledger.read(parameters))


def two_tasks() -> tuple[Ledger, Tensor]:
    p = leaf(0, 0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.tensor([3.0, 1.0])}, "b": {p: torch.tensor([1.0, -5.0])}}))
    return ledger, p


def parts(split: Any) -> dict[str, list[float]]:
    return {name: g.tolist() for name, g in split.tasks.items()}


def test_gradients_as_backward_left_them() -> None:
    ledger, p = two_tasks()
    resolved = fed(ledger, [p])
    assert parts(resolved.splits[p]) == {"a": [3, 1], "b": [1, -5]}
    assert resolved.splits[p].residual is None
    assert resolved.totals[p].tolist() == [4, -4]
    assert resolved.losses.weight == {"a": 1, "b": 1}
    assert resolved.losses.loss == {"a": 1, "b": 1}
    assert resolved.losses.total == 2


@pytest.mark.parametrize("factor", [0.25, 1024.0, -1.0, 1e-12])
def test_scaled(factor: float) -> None:
    """Unscaled by GradScaler, clipped by norm, turned round by a gradient reversal."""
    ledger, p = two_tasks()
    p.grad *= factor
    resolved = fed(ledger, [p])
    torch.testing.assert_close(resolved.splits[p].tasks["a"], factor * torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(resolved.splits[p].tasks["b"], factor * torch.tensor([1.0, -5.0]))
    assert resolved.splits[p].residual is None
    assert resolved.losses.weight == pytest.approx({"a": factor, "b": factor})
    assert resolved.losses.loss == {"a": 1, "b": 1}


def test_scaled_apart() -> None:
    """Each parameter by a factor of its own: no one weight is left."""
    p, q = leaf(0), leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.ones(1), q: torch.ones(1)}}))
    p.grad *= 2
    resolved = fed(ledger, [p, q])
    assert [parts(resolved.splits[x])["a"] for x in (p, q)] == [[2], [1]]
    assert math.isnan(resolved.losses.weight["a"])


def test_clipped_by_value() -> None:
    p = leaf(0, 0, 0)
    ledger = Ledger()
    gradients = {"a": {p: torch.tensor([3.0, 0.5, 0.0])}, "b": {p: torch.tensor([1.0, -2.5, 0.0])}}
    backward(ledger, call("loss", gradients))
    torch.nn.utils.clip_grad_value_([p], 1.0)
    resolved = fed(ledger, [p])
    assert resolved.totals[p].tolist() == [1, -1, 0]
    np.testing.assert_allclose(resolved.splits[p].tasks["a"], [3 / 4, 1 / 4, 0])
    np.testing.assert_allclose(resolved.splits[p].tasks["b"], [1 / 4, -5 / 4, 0])
    assert resolved.splits[p].residual is None
    assert math.isnan(resolved.losses.weight["a"])


def test_changed_in_another_way_is_residual() -> None:
    """Noise, say; the tasks keep their shares."""
    ledger, p = two_tasks()
    p.grad += torch.tensor([0.5, 7.0])
    resolved = fed(ledger, [p])
    assert parts(resolved.splits[p]) == {"a": [3, 1], "b": [1, -5]}
    assert resolved.splits[p].residual.tolist() == [0.5, 7]


def test_rounding_belongs_to_the_largest_task_that_has_a_gradient_there() -> None:
    """Where a gradient is nothing else, an optimizer that divides by its size makes whole steps of it."""
    p = leaf(0, 0, 0)
    ledger = Ledger()
    backward(
        ledger, call("loss", {"a": {p: torch.tensor([9.0, 0.0, 1e-9])}, "b": {p: torch.tensor([1.0, 1e-9, 2e-9])}})
    )
    p.grad = torch.tensor([10.0, 3e-9, -1e-9])
    ledger.accounts[p].left = p.grad.clone()
    split = fed(ledger, [p]).splits[p]
    assert split.residual is None
    torch.testing.assert_close(split.tasks["a"] + split.tasks["b"], p.grad, rtol=1e-6, atol=0)
    assert split.tasks["a"][1] == 0, "a task that has no gradient there gets none"


def test_a_small_change_in_half_precision_is_residual_to_the_bit() -> None:
    p = torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: p.new_tensor([2.0, 1.0])}, "b": {p: p.new_tensor([1.0, 0.5])}}))
    p.grad = p.grad + torch.tensor([0.0, 0.0625], dtype=torch.bfloat16)
    assert fed(ledger, [p]).splits[p].residual.tolist() == [0, 0.0625]


def test_of_zeros_nobody_knows_the_factor() -> None:
    p, idle = leaf(0, 0), leaf(0, 0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.tensor([3.0, 1.0]), idle: torch.zeros(2)}}))
    p.grad = p.grad / 4
    assert fed(ledger, [p, idle]).losses.weight == {"a": pytest.approx(0.25)}


def test_a_factor_that_a_hook_puts_on_a_gradient_is_in_every_part() -> None:
    p = leaf(0, 0)
    p.register_hook(lambda g: g / 2)
    ledger = Ledger()
    made = call("loss", {"a": {p: torch.tensor([3.0, 1.0])}, "b": {p: torch.tensor([1.0, -5.0])}})
    p.grad = torch.tensor([2.0, -2.0])
    ledger.enter(made, [p])
    p.grad = p.grad + torch.tensor([2.0, -2.0])
    ledger.enter(made, [p])
    split = fed(ledger, [p]).splits[p]
    assert parts(split) == {"a": [3, 1], "b": [1, -5]}
    assert split.residual is None


def test_a_regulariser_is_residual() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    made = call("loss", {"a": {p: torch.tensor([3.0, 1.0])}})
    p.grad = torch.tensor([3.5, 1.0])
    ledger.enter(made, [p])
    resolved = fed(ledger, [p])
    assert resolved.splits[p].residual.tolist() == [0.5, 0]


def test_a_parameter_that_no_task_reaches() -> None:
    ledger, p = two_tasks()
    q = leaf(0)
    q.grad = torch.tensor([2.0])
    resolved = fed(ledger, [p, q, leaf(1)])
    assert set(resolved.totals) == {p, q}
    assert resolved.splits[q].tasks == {}
    assert resolved.splits[q].residual.tolist() == [2]


def test_micro_batches_add_up() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    for x in (1.0, 2.0, 4.0):
        gradients = {"a": {p: torch.tensor([x, 0])}, "b": {p: torch.tensor([0, 10 * x])}}
        backward(ledger, call("loss", gradients, weight=0.25, loss=x))
    resolved = fed(ledger, [p])
    assert parts(resolved.splits[p]) == {"a": [7, 0], "b": [0, 70]}
    assert resolved.losses.weight == {"a": 0.75, "b": 0.75}
    assert resolved.losses.loss == pytest.approx({"a": 7 / 3, "b": 7 / 3})
    assert resolved.losses.total == pytest.approx(2 * 0.25 * 7)


def test_micro_batches_of_which_one_lacks_a_task() -> None:
    p = leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.ones(1)}, "b": {p: torch.ones(1)}}))
    backward(ledger, call("loss", {"a": {p: torch.ones(1)}}, loss=3))
    resolved = fed(ledger, [p])
    assert parts(resolved.splits[p]) == {"a": [2], "b": [1]}
    assert resolved.losses.weight == {"a": 2, "b": 1}
    assert resolved.losses.loss == {"a": 2, "b": 1}


def test_a_small_penalty_in_half_precision_is_no_rounding_of_a_task() -> None:
    p = torch.zeros(4, dtype=torch.bfloat16, requires_grad=True)
    ledger = Ledger()
    a, b = torch.tensor([1.0, -2.0, 0.5, 4.0]), torch.tensor([2.0, 1.0, -1.0, 0.25])
    decay = torch.full((4,), 2**-7)
    made = call("loss", {"a": {p: a}, "b": {p: b}})
    p.grad = (a + b + decay).bfloat16()
    ledger.enter(dataclasses.replace(made, beside={"l2": {p: decay}}), [p])
    split = fed(ledger, [p]).splits[p]
    np.testing.assert_allclose(split.residual, decay)
    assert split.unexplained is None
    np.testing.assert_allclose(split.tasks["a"] + split.tasks["b"] + split.residual, split.total.float())


# Mixtures that the script makes itself


def test_noise_on_a_sum_of_gradients_is_residual_and_no_weight() -> None:
    noise = torch.Generator().manual_seed(0)
    p, head = leaf(*[0.0] * 40), leaf(0.0)
    a, b = torch.randn(40, generator=noise), torch.randn(40, generator=noise)
    ledger = Ledger()
    ledger.take(call("a", {"a": {p: a, head: torch.tensor([2.0])}}))
    ledger.take(call("b", {"b": {p: b}}))
    p.grad = a + b + 0.1 * torch.randn(40, generator=noise)
    head.grad = torch.tensor([2.25])
    resolved = fed(ledger, [p, head])
    assert resolved.losses.weight == {"a": 1, "b": 1}
    assert resolved.splits[head].residual.tolist() == [0.25]


def mixed(gradients: list[list[float]], fed: list[float]) -> tuple[Ledger, Tensor]:
    """One backward() for each task, zeroed again, then a gradient of the script's own."""
    p = leaf(*([0.0] * len(fed)))
    ledger = Ledger()
    for k, gradient in enumerate(gradients):
        backward(ledger, call(f"t{k}", {f"t{k}": {p: torch.tensor(gradient)}}))
        p.grad = None
        ledger.look()
    p.grad = torch.tensor(fed)
    return ledger, p


def test_a_mixture_of_zeroed_gradients() -> None:
    g = [[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]
    ledger, p = mixed(g, [2.0, 7.0, -3.0])
    resolved = fed(ledger, [p])
    np.testing.assert_allclose(
        [resolved.splits[p].tasks[f"t{k}"] for k in range(2)], [[2, 4, 0], [0, 3, -3]], rtol=1e-5
    )
    assert resolved.splits[p].residual is None
    assert resolved.losses.weight == pytest.approx({"t0": 2, "t1": 3})
    assert resolved.losses.loss == {"t0": 1, "t1": 1}


def test_what_is_no_mixture_is_residual() -> None:
    """The nearest mixture, by least squares; the rest is at right angles to every task."""
    g, total = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]), np.array([1.0, 0.0, 5.0])
    ledger, p = mixed(g.tolist(), total.tolist())
    split = fed(ledger, [p]).splits[p]
    w = np.linalg.lstsq(g.T, total, rcond=None)[0]
    np.testing.assert_allclose([split.tasks[f"t{k}"] for k in range(2)], w[:, None] * g, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(split.residual, total - w @ g, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "g", [[[1.0, 1.0], [2.0, 2.0]], [[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]]
)
def test_gradients_that_depend_on_each_other(g: list[list[float]]) -> None:
    """Of all mixtures that fit, the smallest: no task gets a huge share that another takes back."""
    ledger, p = mixed(g, [3.0, 3.0])
    split = fed(ledger, [p]).splits[p]
    w = np.linalg.lstsq(np.array(g).T, [3.0, 3.0], rcond=None)[0]
    found = np.array([split.tasks.get(f"t{k}", torch.zeros(2)).numpy() for k in range(len(g))])
    np.testing.assert_allclose(found, w[:, None] * np.array(g), atol=1e-5)
    assert split.residual is None


def test_gradients_taken_with_autograd_grad() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    for name, gradient in (("a", [1.0, 0.0]), ("b", [0.0, 1.0])):
        ledger.take(call(name, {name: {p: torch.tensor(gradient)}}, weight=1, loss=4))
    assert ledger
    p.grad = torch.tensor([0.5, 2.0])
    resolved = fed(ledger, [p])
    assert resolved.losses.weight == pytest.approx({"a": 0.5, "b": 2})
    assert resolved.losses.loss == {"a": 4, "b": 4}


def shared_mixed() -> tuple[Ledger, Tensor, Tensor, Tensor]:
    """Two tasks with a backward() each; the trunk is zeroed after each, and gets a mixture; the heads are left."""
    trunk, head_a, head_b = leaf(0, 0), leaf(0), leaf(0)
    ledger = Ledger()
    g = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.0, 1.0])}
    for name, head in (("a", head_a), ("b", head_b)):
        backward(ledger, call(name, {name: {trunk: g[name], head: torch.ones(1)}}))
        trunk.grad = torch.zeros(2)
        ledger.look()
    trunk.grad = torch.tensor([2.0, 3.0])
    return ledger, trunk, head_a, head_b


def test_only_the_shared_parameters_are_mixed() -> None:
    ledger, trunk, head_a, head_b = shared_mixed()
    resolved = fed(ledger, [trunk, head_a, head_b])
    np.testing.assert_allclose(resolved.splits[trunk].tasks["a"], [2, 0], atol=1e-6)
    np.testing.assert_allclose(resolved.splits[trunk].tasks["b"], [0, 3], atol=1e-6)
    assert parts(resolved.splits[head_a]) == {"a": [1]}
    assert parts(resolved.splits[head_b]) == {"b": [1]}
    assert resolved.losses.loss == {"a": 1, "b": 1}


def test_the_weights_are_those_of_the_shared_parameters() -> None:
    ledger, *parameters = shared_mixed()
    resolved = fed(ledger, parameters)
    assert resolved.losses.weight == pytest.approx({"a": 2, "b": 3})
    assert resolved.losses.total == 2


def test_a_replaced_gradient_of_several_losses() -> None:
    """Not zeroed in between: the script writes over the sum."""
    p = leaf(0, 0)
    ledger = Ledger()
    backward(ledger, call("a", {"a": {p: torch.tensor([1.0, 0.0])}}))
    backward(ledger, call("b", {"b": {p: torch.tensor([0.0, 1.0])}}))
    p.grad = torch.tensor([5.0, -1.0])
    resolved = fed(ledger, [p])
    assert resolved.losses.weight == pytest.approx({"a": 5, "b": -1})
    assert resolved.splits[p].residual is None


def test_losses_with_a_backward_each_are_tasks_even_where_one_is_a_sum() -> None:
    p = leaf(0, 0)
    ledger = Ledger()
    both = {"ce": {p: torch.tensor([1.0, 0.0])}, "dice": {p: torch.tensor([2.0, 0.0])}}
    for made in (call("seg", both, expanded=True), call("depth", {"depth": {p: torch.tensor([0.0, 1.0])}})):
        backward(ledger, made)
        p.grad = None
        ledger.look()
    p.grad = torch.tensor([3.0, 2.0])
    resolved = fed(ledger, [p])
    np.testing.assert_allclose(resolved.splits[p].tasks["seg"], [3, 0], atol=1e-6)
    assert resolved.losses.weight == pytest.approx({"seg": 1, "depth": 2})


def test_what_a_sum_adds_to_stays_as_it_was() -> None:
    p, first = leaf(0), torch.ones(1)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: first}}))
    backward(ledger, call("loss", {"a": {p: torch.ones(1)}}))
    assert first.item() == 1


# The life of an account


def test_nothing_is_known_at_first_and_after_clear() -> None:
    ledger, p = two_tasks()
    ledger.take(call("c", {"c": {p: torch.ones(2)}}))
    assert ledger
    ledger.clear()
    assert not ledger
    assert (ledger.accounts, ledger.passes, ledger.given) == ({}, {}, set())


@pytest.mark.parametrize("zeroed", [None, torch.zeros(2)])
def test_a_gradient_that_was_zeroed_before_any_step_is_in_no_step(zeroed: Tensor | None) -> None:
    ledger, p = two_tasks()
    p.grad = zeroed
    backward(ledger, call("other", {"c": {p: torch.tensor([1.0, 1.0])}}, loss=7))
    found = fed(ledger, [p])
    assert parts(found.splits[p]) == {"c": [1, 1]}
    assert (found.tasks, found.losses.weight, found.losses.loss, found.losses.total) == (["c"], {"c": 1}, {"c": 7}, 7)


def test_a_gradient_that_is_never_zeroed_is_fed_again() -> None:
    ledger, p = two_tasks()
    ledger.stepped([p])
    ledger.close_step()
    backward(ledger, call("loss", {"a": {p: torch.ones(2)}, "b": {p: torch.ones(2)}}, loss=5))
    found = fed(ledger, [p])
    assert parts(found.splits[p]) == {"a": [4, 2], "b": [2, -4]}
    assert found.splits[p].residual is None
    assert found.losses.loss == {"a": 5, "b": 5}


def test_a_gradient_that_was_stepped_by_and_zeroed_is_gone() -> None:
    ledger, p = two_tasks()
    ledger.stepped([p])
    ledger.close_step()
    p.grad = None
    backward(ledger, call("loss", {"a": {p: torch.ones(2)}}))
    assert parts(fed(ledger, [p]).splits[p]) == {"a": [1, 1]}


def test_optimizers_at_different_rates() -> None:
    """One parameter waits for a second pass; the other is stepped and zeroed after each."""
    slow, fast = leaf(0), leaf(0)
    ledger = Ledger()
    for number in (1.0, 2.0):
        fast.grad = None
        backward(ledger, call("loss", {"a": {slow: torch.tensor([number]), fast: torch.tensor([10 * number])}}))
        assert parts(fed(ledger, [fast]).splits[fast]) == {"a": [10 * number]}
        ledger.stepped([fast])
        if number == 1:
            ledger.close_step()
    assert parts(fed(ledger, [slow]).splits[slow]) == {"a": [3]}


def test_what_an_optimizer_leaves_in_grad_is_no_tasks() -> None:
    """It scales .grad in its step, and the script goes on adding to it."""
    ledger, p = two_tasks()
    p.grad *= 0.1
    ledger.stepped([p])
    ledger.close_step()
    backward(ledger, call("loss", {"a": {p: torch.ones(2)}}))
    split = fed(ledger, [p]).splits[p]
    assert parts(split) == {"a": [1, 1]}
    torch.testing.assert_close(split.residual, 0.1 * torch.tensor([4.0, -4.0]))


def test_clipped_between_two_passes() -> None:
    ledger, p = two_tasks()
    p.grad *= 0.5
    backward(ledger, call("loss", {"a": {p: torch.ones(2)}}))
    split = fed(ledger, [p]).splits[p]
    assert parts(split) == {"a": [2.5, 1.5], "b": [0.5, -2.5]}
    assert split.residual is None


def test_a_pass_that_takes_no_part_leaves_the_others_their_factor() -> None:
    ledger, p = two_tasks()
    q = leaf(0)
    p.grad *= 0.5
    ledger.look()
    q.grad = torch.ones(1)
    ledger.enter(call("other", {"c": {q: torch.ones(1)}}), [p, q])
    assert parts(fed(ledger, [p]).splits[p]) == {"a": [1.5, 0.5], "b": [0.5, -2.5]}


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_gradients_that_overflowed_and_were_zeroed(bad: float) -> None:
    p = leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {p: torch.tensor([bad])}}))
    assert not ledger.look()
    p.grad = None
    assert ledger.look()
    assert losses_of(ledger).loss == {"a": 1}


def test_another_evaluation_of_a_closure_starts_anew() -> None:
    ledger, p = two_tasks()
    first, totals = ledger.copy(), ledger.read([p])
    p.grad = None
    ledger.drop_held()
    backward(ledger, call("loss", {"a": {p: torch.tensor([0.0, 9.0])}, "b": {p: torch.zeros(2)}}, loss=2))
    assert parts(fed(ledger, [p]).splits[p]) == {"a": [0, 9], "b": [0, 0]}
    again = feeding.fed(first, totals)
    assert parts(again.splits[p]) == {"a": [3, 1], "b": [1, -5]}
    assert again.losses.loss == {"a": 1, "b": 1}


def test_gradients_that_a_fused_optimizer_unscales_itself() -> None:
    ledger, p = two_tasks()
    found = feeding.fed(ledger, ledger.read([p], grad_scale=4.0))
    assert found.totals[p].tolist() == [1, -1]
    np.testing.assert_allclose(found.splits[p].tasks["a"], [0.75, 0.25])
    assert found.losses.weight == pytest.approx({"a": 0.25, "b": 0.25})


def test_a_step_that_is_given_its_gradients() -> None:
    """Whatever .grad holds, and once only."""
    ledger, p = two_tasks()
    p.grad = torch.tensor([100.0, 100.0])
    ledger.feed(call("losses", {"a": {p: torch.ones(2)}, "b": {p: torch.tensor([0.0, 2.0])}}))
    found = fed(ledger, [p])
    assert found.totals[p].tolist() == [1, 3]
    assert parts(found.splits[p]) == {"a": [1, 1], "b": [0, 2]}
    ledger.stepped([p])
    assert not ledger


def test_a_loss_that_shares_no_parameter_is_no_task_beside_those_that_do() -> None:
    """What trains the weights of the losses."""
    ledger, p = two_tasks()
    weights = leaf(0)
    backward(ledger, call("balance", {"balance": {weights: torch.ones(1)}}))
    found = fed(ledger, [p, weights])
    assert found.tasks == ["a", "b"]
    assert parts(found.splits[weights]) == {}
    assert found.splits[weights].residual.tolist() == [1]


def test_half_and_sparse_gradients() -> None:
    p = torch.zeros(2, 2, dtype=torch.bfloat16, requires_grad=True)
    p.grad = torch.ones(2, 2, dtype=torch.bfloat16)
    q = leaf(0, 0)
    q.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), [3.0], (2,), check_invariants=True).coalesce()
    ledger = Ledger()
    ledger.enter(call("loss", {"a": {p: torch.ones(2, 2), q: torch.tensor([0.0, 3.0])}}), [p, q])
    found = fed(ledger, [p, q])
    assert found.totals[p].dtype == torch.float32
    assert found.totals[q].tolist() == [0, 3]
    assert found.splits[p].residual is None
    assert found.splits[q].residual is None


def test_a_step_of_several_optimizers() -> None:
    ledger, p = two_tasks()
    q = leaf(0)
    backward(ledger, call("loss", {"a": {q: torch.ones(1)}, "b": {q: torch.ones(1)}}))
    losses = joined([fed(ledger, [p]), fed(ledger, [q])])
    assert (losses.loss, losses.weight, losses.total) == ({"a": 1, "b": 1}, {"a": 1, "b": 1}, 2)
    assert math.isnan(joined([]).total)


def test_passes_that_fill_some_parameters_only_are_one_loss() -> None:
    """As backward(inputs=) does, twice over one graph."""
    trunk, head = leaf(0), leaf(0)
    ledger = Ledger()
    backward(ledger, call("loss", {"a": {trunk: torch.ones(1)}}, loss=3))
    backward(ledger, call("loss", {"a": {head: torch.ones(1)}}, loss=3))
    found = fed(ledger, [trunk, head])
    assert (found.losses.weight, found.losses.loss, found.losses.total) == ({"a": 1}, {"a": 3}, 3)
