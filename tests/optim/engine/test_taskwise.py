"""What all task-wise optimizers share: how gradients come in, and what torch expects of an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from optim.problems import Problem
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from dominance.optim import (
    UW,
    AdaTaskAdagrad,
    AdaTaskAdam,
    AdaTaskRMSprop,
    Combiner,
    NashMTL,
    PCGrad,
    TaskGradients,
)
from dominance.optim.engine.gradients import listeners, task_gradients

torch.set_num_threads(1)


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


def test_backward_fills_grad_as_the_backward_of_the_sum_does_over_micro_batches() -> None:
    problem, other = Problem(), Problem()
    optimizer = AdaTaskAdam(problem.net.parameters())
    for _ in range(2):
        optimizer.backward(problem.losses())
        torch.stack(list(other.losses().values())).sum().backward()  # type: ignore[no-untyped-call]
        problem.batch()
        other.batch()
    for p, q in zip(problem.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_the_step_after_micro_batches_is_that_of_the_tasks_summed_gradients() -> None:
    problem, other = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    optimizer, by_hand = AdaTaskAdam(problem.net.parameters()), AdaTaskAdam(other.net.parameters())
    kept: TaskGradients | None = None
    for tasks in (("a", "b", "c"), ("b", "c")):
        optimizer.backward({task: problem.losses()[task] for task in tasks})
        found = task_gradients({task: other.losses()[task] for task in tasks}, other.net.parameters())
        kept = found if kept is None else kept.add(found)
        problem.batch()
        other.batch()
    optimizer.step()
    by_hand.step(kept)
    assert torch.equal(flat(problem.net), flat(other.net))


def test_gradients_are_dropped_by_zero_grad_of_the_optimizer_and_of_the_model() -> None:
    ends = []
    for clear in (
        lambda problem, optimizer: optimizer.zero_grad(),
        lambda problem, optimizer: optimizer.zero_grad(set_to_none=False),
        lambda problem, optimizer: problem.net.zero_grad(),
        lambda problem, optimizer: problem.net.zero_grad(set_to_none=False),
    ):
        problem = Problem()
        optimizer = AdaTaskAdam(problem.net.parameters())
        optimizer.backward(problem.losses())
        clear(problem, optimizer)  # type: ignore[no-untyped-call]
        with pytest.raises(RuntimeError, match="call optimizer"):
            optimizer.step()
        problem.batch()
        optimizer.backward(problem.losses())
        optimizer.step()
        ends.append(flat(problem.net))
    assert all(torch.equal(end, ends[0]) for end in ends)


def change_by_clipping(net: nn.Module) -> None:
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-3)


def change_by_assignment(net: nn.Module) -> None:
    for p in net.parameters():
        p.grad = torch.ones_like(p)


def change_by_regulariser(net: nn.Module) -> None:
    sum((p**2).sum() for p in net.parameters()).backward()  # type: ignore[union-attr]


def change_by_data(net: nn.Module) -> None:
    for p in net.parameters():
        if p.grad is not None:
            p.grad.data.clamp_(-1e-3, 1e-3)


def change_by_adding(net: nn.Module) -> None:
    for p in net.parameters():
        if p.grad is not None:
            p.grad.add_(0.5)


@pytest.mark.parametrize("change", [change_by_assignment, change_by_regulariser, change_by_adding])
def test_what_adds_to_grad_is_not_ignored_in_silence(change: Callable[[nn.Module], None]) -> None:
    problem = Problem()
    optimizer = AdaTaskAdam(problem.net.parameters())
    optimizer.backward(problem.losses())
    change(problem.net)
    for use in (optimizer.step, lambda: optimizer.backward(problem.losses()), lambda: optimizer.clip_grad_norm_(1.0)):
        with pytest.raises(RuntimeError, match="by more than a factor or a limit"):
            use()


def change_by_masks(net: nn.Module) -> None:
    for p in net.parameters():
        if p.grad is not None:
            p.grad *= torch.arange(p.numel()).view_as(p) % 3 > 0


@pytest.mark.parametrize("change", [change_by_clipping, change_by_data, change_by_masks])
def test_factors_on_grad_are_factors_on_every_tasks_gradient(change: Callable[[nn.Module], None]) -> None:
    """Beside the same step from gradients that were multiplied by what ``.grad`` was."""
    problem, other = (Problem(dtype=torch.float64) for _ in range(2))
    optimizer, by_hand = (AdaTaskAdam(each.net.parameters()) for each in (problem, other))
    for _ in range(3):
        for each in (problem, other):
            each.batch()
            each.net.zero_grad()
        optimizer.backward(problem.losses())
        whole = [None if p.grad is None else p.grad.clone() for p in problem.net.parameters()]
        change(problem.net)
        parameters = list(other.net.parameters())
        found = task_gradients(other.losses(), parameters)
        factors = [
            None if g is None or p.grad is None else torch.where(g == 0, 0, p.grad / g)
            for p, g in zip(problem.net.parameters(), whole, strict=True)
        ]
        rows = [
            [None if g is None or f is None else g * f for g, f in zip(row, factors, strict=True)] for row in found.rows
        ]
        optimizer.step()
        by_hand.step(replace(found, rows=rows))
    torch.testing.assert_close(flat(problem.net), flat(other.net), rtol=1e-9, atol=1e-12)
    assert not torch.equal(flat(problem.net), flat(Problem(dtype=torch.float64).net))


def test_a_grad_from_before_backward_is_not_ignored_in_silence() -> None:
    problem = Problem()
    optimizer = AdaTaskAdam(problem.net.parameters())
    change_by_regulariser(problem.net)
    with pytest.raises(RuntimeError, match="of no task"):
        optimizer.backward(problem.losses())


def test_a_loss_scaler_scales_all_tasks_and_skips_what_overflows() -> None:
    problem, other = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    optimizer, plain = AdaTaskAdam(problem.net.parameters()), AdaTaskAdam(other.net.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        plain.zero_grad()
        optimizer.backward({task: scaler.scale(loss * factor) for task, loss in problem.losses().items()})
        scaler.step(optimizer)
        scaler.update()
        if factor == 1.0:
            plain.backward(other.losses())
            plain.step()
        problem.batch()
        other.batch()
    assert scaler.get_scale() == 2.0**9
    torch.testing.assert_close(flat(problem.net), flat(other.net), rtol=1e-12, atol=0)


def test_a_loss_scaler_whose_scale_is_taken_out_before_clipping() -> None:
    problem, other = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    optimizer, plain = AdaTaskAdam(problem.net.parameters()), AdaTaskAdam(other.net.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        plain.zero_grad()
        optimizer.backward({task: loss * factor for task, loss in problem.losses().items()}, scaler=scaler)
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(problem.net.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        if factor == 1.0:
            plain.backward(other.losses())
            plain.clip_grad_norm_(0.1)
            plain.step()
        problem.batch()
        other.batch()
    assert scaler.get_scale() == 2.0**9
    torch.testing.assert_close(flat(problem.net), flat(other.net), rtol=1e-12, atol=0)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
@pytest.mark.parametrize("make", [lambda: None, lambda: PCGrad(seed=3), NashMTL], ids=["none", "pcgrad", "nash-mtl"])
def test_a_loss_scaler_that_is_given_to_backward(make: Callable[[], Combiner | None], broken: str) -> None:
    """Steps are those without it, as the combiner sees no scale; what overflows is skipped, and not remembered."""
    problem, other = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    optimizer, plain = AdaTaskAdam(problem.net.parameters()), AdaTaskAdam(other.net.parameters())
    ours, theirs = make(), make()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(4):
        optimizer.zero_grad()
        plain.zero_grad()
        losses = problem.losses()
        if step == 2 and broken == "loss":
            losses["b"] = losses["b"] * float("inf")  # type: ignore[operator]
        if step == 2 and broken == "gradient":
            losses["b"] = losses["b"] + problem.net.trunk[0].bias.sub(problem.net.trunk[0].bias.detach()).sqrt().sum()
        optimizer.backward(losses, ours, scaler=scaler)
        optimizer.clip_grad_norm_(0.5 * scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()
        if step != 2:
            plain.backward(other.losses(), theirs)
            plain.clip_grad_norm_(0.5)
            plain.step()
        problem.batch()
        other.batch()
    assert scaler.get_scale() == 2.0**9
    assert torch.isfinite(flat(problem.net)).all()
    torch.testing.assert_close(flat(problem.net), flat(other.net), rtol=1e-6, atol=0)


def test_micro_batches_of_which_one_overflows() -> None:
    problem = Problem()
    optimizer, before = AdaTaskAdam(problem.net.parameters()), flat(problem.net)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for factor in (1.0, float("nan"), 1.0):
        optimizer.backward(
            {task: loss * factor for task, loss in problem.losses().items() if loss is not None},
            PCGrad(),
            scaler=scaler,
        )
    scaler.step(optimizer)
    assert torch.equal(flat(problem.net), before)
    optimizer.zero_grad()
    disabled = torch.amp.GradScaler("cpu", enabled=False)
    optimizer.backward(problem.losses(), PCGrad(), scaler=disabled)
    disabled.step(optimizer)
    assert not torch.equal(flat(problem.net), before)
    with pytest.raises(FloatingPointError):
        optimizer.backward({"a": next(problem.net.parameters()).sum() * float("nan")}, PCGrad())


@pytest.mark.parametrize("factor", [0.25, torch.tensor(0.25)])
def test_scaling_all_gradients(factor: Any) -> None:
    problem, other = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    optimizer, plain = AdaTaskAdam(problem.net.parameters()), AdaTaskAdam(other.net.parameters())
    optimizer.backward({task: loss * 4 for task, loss in problem.losses().items()})
    optimizer.scale_grad_(factor)
    optimizer.step()
    plain.backward(other.losses())
    plain.step()
    torch.testing.assert_close(flat(problem.net), flat(other.net))
    for p, q in zip(problem.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    with pytest.raises(RuntimeError, match="call optimizer"):
        AdaTaskAdam(problem.net.parameters()).scale_grad_(1.0)


def test_clipping_is_torchs_with_one_task() -> None:
    problem, other = Problem(scales=(1.0,)), Problem(scales=(1.0,))
    optimizer, parent = AdaTaskAdam(problem.net.parameters()), torch.optim.Adam(other.net.parameters())
    for _ in range(5):
        for each in (problem, other):
            each.batch()
        optimizer.zero_grad()
        parent.zero_grad()
        optimizer.backward(problem.losses())
        other.losses()["a"].backward()  # type: ignore[no-untyped-call]
        norm = optimizer.clip_grad_norm_(0.1)
        assert torch.equal(norm, torch.nn.utils.clip_grad_norm_(other.net.parameters(), 0.1))
        optimizer.step()
        parent.step()
    assert torch.equal(flat(problem.net), flat(other.net))


def test_manipulated_gradients_go_into_each_tasks_own_state() -> None:
    """AdaTask, Algorithm 4."""
    problem, other = Problem(dtype=torch.float64), Problem(dtype=torch.float64)
    optimizer, by_hand = AdaTaskAdam(problem.net.parameters()), AdaTaskAdam(other.net.parameters())
    ours, theirs = PCGrad(seed=3), PCGrad(seed=3)
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.backward(problem.losses(), ours)
        optimizer.step()
        by_hand.step(theirs.combine(task_gradients(other.losses(), other.net.parameters())))
        problem.batch()
        other.batch()
    assert torch.equal(flat(problem.net), flat(other.net))


def test_weights_that_are_learnt_by_gradient_do_not_go_with_it() -> None:
    problem = Problem()
    with pytest.raises(ValueError, match="learns its weights"):
        AdaTaskAdam(problem.net.parameters()).backward(problem.losses(), UW(("a", "b", "c")))


def test_listeners_are_told_once_for_each_backward_and_for_given_gradients() -> None:
    class Told:
        def __init__(self) -> None:
            self.weights: list[Any] = []

        def effective(self, gradients: TaskGradients, weights: Any) -> None:
            self.weights.append(weights)

        def updates(self, *announced: Any) -> None: ...

        def own_passes(self) -> Any:
            return torch.enable_grad()

    problem, told = Problem(), Told()
    optimizer = AdaTaskAdam(problem.net.parameters())
    listeners.append(told)  # type: ignore[arg-type]
    try:
        optimizer.backward(problem.losses())
        optimizer.step()
        problem.batch()
        optimizer.step(task_gradients(problem.losses(), problem.net.parameters()))
    finally:
        listeners.clear()
    assert told.weights == [{"a": 1.0, "b": 1.0, "c": 1.0}, None]


def test_torchs_schedulers_and_hooks_work() -> None:
    problem = Problem()
    optimizer = AdaTaskAdam(problem.net.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    handle = register_optimizer_step_post_hook(lambda *_: calls.append("global"))
    try:
        optimizer.backward(problem.losses())
        optimizer.step()
    finally:
        handle.remove()
    scheduler.step()
    assert calls == ["pre", "post", "global"]
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_groups_have_options_of_their_own_and_can_be_added() -> None:
    p, q = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = AdaTaskAdam([{"params": [p], "lr": 0.1}])
    optimizer.add_param_group({"params": q, "lr": 0.01})
    optimizer.backward({"a": (p + q).sum()})
    optimizer.step()
    assert p.tolist() == pytest.approx([0.9, 0.9])
    assert q.tolist() == pytest.approx([0.99, 0.99])


def test_a_layer_that_is_added_later() -> None:
    p, q = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = AdaTaskRMSprop([("l.weight", p)], granularity="layer")
    optimizer.add_param_group({"params": [("l.bias", q)]})
    optimizer.backward({"a": (p + q).sum()})
    optimizer.step()
    assert [id(key) for key, state in optimizer.state.items() if "layer" in state] == [id(p)]


def test_parameters_that_come_and_go_while_gradients_add_up() -> None:
    """Unfrozen and frozen between two micro-batches, and of a group that is added: each steps from what it got."""
    early, late, always, added = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(4))
    late.requires_grad_(False)
    optimizer = AdaTaskAdagrad([early, late, always], lr=0.1)
    optimizer.backward({"a": (early + late + always).sum()})
    early.requires_grad_(False)
    late.requires_grad_(True)
    optimizer.add_param_group({"params": [added]})
    optimizer.backward({"a": (3 * (early + late + always + added)).sum(), "b": (2 * always).sum()})
    taken = [None if p.grad is None else p.grad.tolist() for p in (early, late, always, added)]
    assert taken == [[1.0, 1.0], [3.0, 3.0], [6.0, 6.0], [3.0, 3.0]]
    optimizer.step()
    sums = [optimizer.state[p]["tasks"]["a"]["sum"][0].item() for p in (early, late, always, added)]
    assert sums == [1.0, 9.0, 16.0, 9.0]
    assert optimizer.state[always]["tasks"]["b"]["sum"].tolist() == [4.0, 4.0]


def test_what_comes_and_goes_brings_no_foreign_grad() -> None:
    p, q, frozen = (torch.ones(2, requires_grad=True) for _ in range(3))
    frozen.requires_grad_(False)
    frozen.grad = torch.ones(2)
    optimizer = AdaTaskAdam([p, q, frozen])
    optimizer.backward({"a": p.sum()})
    q.grad = torch.ones(2)  # it had none when the task's gradients were taken
    with pytest.raises(RuntimeError, match="was changed"):
        optimizer.step()
    q.grad = None
    frozen.requires_grad_(True)
    with pytest.raises(RuntimeError, match="of no task"):
        optimizer.backward({"a": p.sum()})


def test_frozen_parameters_stay() -> None:
    problem = Problem()
    optimizer = AdaTaskAdam(problem.net.parameters())
    frozen = problem.net.trunk[0].weight.requires_grad_(False)
    before = frozen.clone()
    optimizer.backward(problem.losses())
    optimizer.step()
    assert torch.equal(frozen, before)
    assert frozen not in optimizer.state


def test_what_is_not_supported_says_so() -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = AdaTaskAdam([p])
    with pytest.raises(TypeError, match="closures are not supported"):
        optimizer.step(lambda: 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="none of the optimizer's parameters"):
        optimizer.step(task_gradients({"a": (other := torch.ones(1, requires_grad=True)).sum()}, [other]))
    with pytest.raises(ValueError, match="complex"):
        AdaTaskAdam([torch.ones(2, dtype=torch.complex64, requires_grad=True)])
    table = nn.Embedding(3, 2, sparse=True)
    sparse = AdaTaskAdam(table.parameters())
    row: list[Tensor | None] = [
        torch.sparse_coo_tensor(torch.tensor([[1]]), [[1.0, 1.0]], (3, 2), check_invariants=True)
    ]
    with pytest.raises(TypeError, match="sparse=False"):
        sparse.step(TaskGradients(("a",), (table.weight,), [row], (torch.tensor(0.0),), (False,)))
