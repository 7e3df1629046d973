"""What scripts do around backward() and step() goes on working under a method, with the meaning that is documented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from cure.shop import TASKS, Shop, adam, batches, losses_of, made, method, same, script
from torch import Tensor

import dominance
from dominance import optim
from dominance.optim.engine.gradients import Sharing, accumulate, task_gradients

STEPS = 5


def weights(model: Shop) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def named(losses: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(TASKS, losses, strict=True))


def by_hand(each: Callable[[Shop, Any, Any, dict[str, Tensor]], None], make: Any = adam) -> list[Tensor]:
    """A training by PCGrad; ``each`` takes the steps."""
    model, combiner = made(), optim.PCGrad()
    optimizer = make(list(model.parameters()))
    for x, y in batches(STEPS):
        optimizer.zero_grad()
        each(model, optimizer, combiner, named(losses_of(model, x, y)))
    return weights(model)


def combined(model: Shop, optimizer: Any, combiner: Any, losses: dict[str, Tensor]) -> None:
    """A step as it is written by hand."""
    combiner.backward(losses, model)
    optimizer.step()


class Handing(torch.optim.SGD):
    """Hands its step to another; the recorder tries on a copy what its steps are like."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, lr=lr)
        self.inner = torch.optim.SGD(self.param_groups, lr=lr)

    def step(self, closure: Any = None) -> Any:
        return self.inner.step(closure)


def test_an_optimizer_in_an_optimizer(tmp_path: Path) -> None:
    def make(parameters: Any) -> Handing:
        return Handing(parameters, lr=0.01)

    def each(model: Shop, optimizer: Any, combiner: Any, losses: dict[str, Tensor]) -> None:
        combined(model, optimizer, combiner, {**losses, "stars_loss": 0.5 * losses["stars_loss"]})

    with method(tmp_path / "run", "pcgrad"):
        found = script(STEPS, make)
    assert same(found, by_hand(each, make))


def test_losses_that_a_function_has_added_up(tmp_path: Path) -> None:
    def total(model: Shop, x: Tensor, y: Tensor) -> Tensor:
        price_loss, stars_loss, sold_loss = losses_of(model, x, y)
        return price_loss + stars_loss + sold_loss

    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = adam(model.parameters())
        for x, y in batches(STEPS):
            optimizer.zero_grad()
            total(model, x, y).backward()
            optimizer.step()

    assert same(weights(model), by_hand(combined))


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_clipping_by_norm_is_of_the_combined_gradient(tmp_path: Path, limit: float) -> None:
    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = adam(model.parameters())
        for x, y in batches(STEPS):
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            optimizer.zero_grad()
            (price_loss + stars_loss + sold_loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            optimizer.step()

    def each(model: Shop, optimizer: Any, combiner: Any, losses: dict[str, Tensor]) -> None:
        combiner.backward(losses, model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step()

    assert same(weights(model), by_hand(each))


def summed(micro_batches: int) -> list[Tensor]:
    """PCGrad once a step, of the tasks' gradients added up over micro-batches."""
    model, combiner, sharing = made(), optim.PCGrad(), Sharing()
    optimizer = adam(model.parameters())
    held = None
    for number, (x, y) in enumerate(batches(STEPS * micro_batches)):
        losses = {task: loss / micro_batches for task, loss in named(losses_of(model, x, y)).items()}
        new = task_gradients(losses, model, sharing=sharing)
        held = new if held is None else held.add(new)
        if number % micro_batches == micro_batches - 1:
            optimizer.zero_grad()
            accumulate(held.parameters, combiner.mix(held).total())
            optimizer.step()
            held = None
    return weights(model)


def test_gradients_of_micro_batches_are_added_up_before_they_are_combined(tmp_path: Path) -> None:
    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = adam(model.parameters())
        for number, (x, y) in enumerate(batches(3 * STEPS)):
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            ((price_loss + stars_loss + sold_loss) / 3).backward()
            if number % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
    for one, other in zip(weights(model), summed(3), strict=True):
        torch.testing.assert_close(one, other)
    with dominance.open_run(tmp_path / "run") as run:
        assert run.sizes["step"] == STEPS
        assert float(run["closure"].max()) < 5e-5  # of steps of 0.01


def test_one_backward_for_each_task_is_combined_as_one_for_all(tmp_path: Path) -> None:
    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = adam(model.parameters())
        for x, y in batches(STEPS):
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            optimizer.zero_grad()
            price_loss.backward(retain_graph=True)
            stars_loss.backward(retain_graph=True)
            sold_loss.backward()
            optimizer.step()
    for one, other in zip(weights(model), summed(1), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["uw", "imtl", "rlw", "mocograd", "nash-mtl"])
def test_what_a_method_remembers_moves_once_a_step(tmp_path: Path, name: str) -> None:
    def trained(path: Path, *, apart: bool) -> list[Tensor]:
        with method(path, name):
            model = made()
            optimizer = adam(model.parameters())
            for x, y in batches(STEPS):
                price_loss, stars_loss, sold_loss = losses_of(model, x, y)
                optimizer.zero_grad()
                if apart:
                    (price_loss + stars_loss).backward(retain_graph=True)
                    sold_loss.backward()
                else:
                    (price_loss + stars_loss + sold_loss).backward()
                optimizer.step()
            return weights(model)

    apart, together = trained(tmp_path / "apart", apart=True), trained(tmp_path / "together", apart=False)
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_regulariser_is_no_task_and_stays_what_it_is(tmp_path: Path) -> None:
    def penalty(model: Shop) -> Tensor:
        return sum((p.square().sum() for p in model.parameters()), torch.zeros(()))

    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = adam(model.parameters())
        for x, y in batches(STEPS):
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            optimizer.zero_grad()
            (price_loss + stars_loss + sold_loss + 0.01 * penalty(model)).backward()
            optimizer.step()

    def each(model: Shop, optimizer: Any, combiner: Any, losses: dict[str, Tensor]) -> None:
        combiner.backward(losses, model)
        (0.01 * penalty(model)).backward()
        optimizer.step()

    for one, other in zip(weights(model), by_hand(each), strict=True):
        torch.testing.assert_close(one, other)


def test_a_scaler_and_its_unscaling(tmp_path: Path) -> None:
    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = adam(model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for x, y in batches(STEPS):
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            optimizer.zero_grad()
            scaler.scale(price_loss + stars_loss + sold_loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()

    def each(model: Shop, optimizer: Any, combiner: Any, losses: dict[str, Tensor]) -> None:
        combiner.backward(losses, model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    assert same(weights(model), by_hand(each))


def test_a_closure(tmp_path: Path) -> None:
    with method(tmp_path / "run", "pcgrad"):
        model = made()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in batches(STEPS):

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                price_loss, stars_loss, sold_loss = losses_of(model, x, y)
                loss = price_loss + stars_loss + sold_loss
                optimizer.zero_grad()
                loss.backward()
                return loss

            optimizer.step(closure)

    assert same(weights(model), by_hand(combined, lambda p: torch.optim.SGD(p, lr=0.1)))


@pytest.mark.parametrize("name", ["adatask", "pub", "clippy", "uw"])
def test_learning_rates_are_those_of_the_script_s_scheduler(tmp_path: Path, name: str) -> None:
    def trained(path: Path, factor: float) -> list[Tensor]:
        with method(path, name):
            model = made()
            optimizer = adam(model.parameters())
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, factor)
            for x, y in batches(2):
                price_loss, stars_loss, sold_loss = losses_of(model, x, y)
                optimizer.zero_grad()
                (price_loss + stars_loss + sold_loss).backward()
                optimizer.step()
                scheduler.step()
            return weights(model)

    def first(path: Path) -> list[Tensor]:
        with method(path, name):
            model = made()
            optimizer = adam(model.parameters())
            price_loss, stars_loss, sold_loss = losses_of(model, *next(batches(1)))
            (price_loss + stars_loss + sold_loss).backward()
            optimizer.step()
            return weights(model)

    assert same(trained(tmp_path / "still", 0.0), first(tmp_path / "one"))
    assert not same(trained(tmp_path / "on", 1.0), first(tmp_path / "two"))


@pytest.mark.parametrize("name", ["mocograd", "uw", "gradnorm", "adatask", "pub", "ladatask"])
def test_training_goes_on_from_the_script_s_own_checkpoint(tmp_path: Path, name: str) -> None:
    def steps(model: Shop, optimizer: torch.optim.Optimizer, every: Sequence[tuple[Tensor, Tensor]]) -> None:
        for x, y in every:
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            optimizer.zero_grad()
            (price_loss + stars_loss + sold_loss).backward()
            optimizer.step()

    data = list(batches(6))
    with method(tmp_path / "whole", name):
        whole = made()
        steps(whole, adam(whole.parameters()), data)
    with method(tmp_path / "first", name):
        model = made()
        optimizer = adam(model.parameters())
        steps(model, optimizer, data[:3])
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved.pt")
    with method(tmp_path / "second", name):
        saved = torch.load(tmp_path / "saved.pt")
        again = made(1)
        again.load_state_dict(saved["model"])
        optimizer = adam(again.parameters())
        optimizer.load_state_dict(saved["optimizer"])
        steps(again, optimizer, data[3:])
    assert same(weights(again), weights(whole))


@pytest.mark.parametrize("limit", [0.05, 100.0])
def test_clipping_scales_every_task_alike_for_an_optimizer_of_the_tasks(tmp_path: Path, limit: float) -> None:
    with method(tmp_path / "run", "adatask"):
        model = made()
        optimizer = adam(model.parameters())
        for x, y in batches(STEPS):
            price_loss, stars_loss, sold_loss = losses_of(model, x, y)
            optimizer.zero_grad()
            (price_loss + stars_loss + sold_loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            optimizer.step()
    hand = made()
    adatask = optim.AdaTaskAdam(hand.parameters(), lr=0.01)
    for x, y in batches(STEPS):
        adatask.zero_grad()
        adatask.backward(named(losses_of(hand, x, y)))
        adatask.clip_grad_norm_(limit)
        adatask.step()
    for one, other in zip(weights(model), weights(hand), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("decoupled", [False, True])
def test_weight_decay_is_the_script_s(tmp_path: Path, decoupled: bool) -> None:
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    with method(tmp_path / "run", "adatask"):
        trained = script(STEPS, lambda p: kind(p, lr=0.01, weight_decay=0.1, betas=(0.8, 0.9)))
    hand = made()
    adatask = optim.AdaTaskAdam(
        hand.parameters(), lr=0.01, weight_decay=0.1, betas=(0.8, 0.9), decoupled_weight_decay=decoupled
    )
    for x, y in batches(STEPS):
        price, stars, sold = losses_of(hand, x, y)
        adatask.zero_grad()
        adatask.backward(named((price, 0.5 * stars, sold)))
        adatask.step()
    assert same(trained, weights(hand))


def test_the_script_keeps_its_optimizer(tmp_path: Path) -> None:
    with method(tmp_path / "run", "adatask"):
        model = made()
        optimizer = adam(model.parameters())
        (sum(losses_of(model, *next(batches(1))), torch.zeros(()))).backward()
        optimizer.step()
        assert type(optimizer) is torch.optim.Adam
        assert "dominance" in optimizer.state_dict()
        assert "dominance" not in torch.optim.SGD(model.parameters(), lr=1).state_dict()
    assert torch.optim.Adam.step.__qualname__ == "Adam.step"
