"""Steps between recorded ones, of which most are not looked at anew: they are the same, whatever the script does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cure.shop import Shop, adam, batches, losses_of, made, method, same
from cure.test_methods import BY_HAND, OPTIONS, by_hand
from torch import Tensor

import dominance
from dominance.benchmarks.train.methods import build
from dominance.benchmarks.train.methods import method as method_of
from dominance.cure.choice import usable
from dominance.optim import PCGrad
from dominance.record.step_recorder import StepRecorder

STEPS, EVERY = 24, 8
Step = Callable[[Shop, torch.optim.Optimizer, Tensor, Tensor, int], None]


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Passes that were known, and not looked at."""
    known: list[bool] = []
    rests = StepRecorder.rests_with_method

    def noting(self: StepRecorder, outputs: Any) -> bool:
        known.append(rests(self, outputs))
        return known[-1]

    with monkeypatch.context() as patch:
        patch.setattr(StepRecorder, "rests_with_method", noting)
        yield known


def train(step: Step, steps: int = STEPS, make: Any = adam) -> list[Tensor]:
    model = made()
    optimizer = make(list(model.parameters()))
    for number, (x, y) in enumerate(batches(steps)):
        step(model, optimizer, x, y, number)
    return [p.detach().clone() for p in model.parameters()]


def plain(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
    price_loss, stars_loss, sold_loss = losses_of(model, x, y)
    loss = price_loss + 0.5 * stars_loss + sold_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("name", [name for name in usable() if name != "equal-weight"])
def test_a_method_is_the_method_by_hand_between_recorded_steps_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with counted(monkeypatch) as known, method(tmp_path / "run", name, *OPTIONS.get(name, ()), every=EVERY):
        found = train(plain)
    assert same(found, by_hand(name, steps=STEPS))
    assert sum(known) >= STEPS // 3 or name == "clippy"
    with method(tmp_path / "all", name, *OPTIONS.get(name, ())):
        train(plain)
    with dominance.open_run(tmp_path / "run") as some, dominance.open_run(tmp_path / "all") as all_steps:
        steps = some["step"].values
        assert steps.tolist() == [0, 8, 16]
        assert some["loss/loss"].values.tolist() == all_steps["loss/loss"].sel(step=steps).values.tolist()
        # A recording may hold what a method learns itself, where it was found among what is alive.
        layers = [run["coord_layer"].values.tolist() for run in (some, all_steps)]
        both = set(layers[0]) & set(layers[1])
        own, whole = ([i for i, name in enumerate(each) if name in both] for each in layers)
        assert len(own) == len(whole) >= sum(p.numel() for p in made().parameters())
        for array in ("gradient/gradient", "update/total"):
            expected = all_steps[array].sel(step=steps).values[..., whole]
            assert (some[array].values[..., own] == expected).all()


def of_tasks(name: str, losses: Callable[[Shop, Tensor, Tensor, int], dict[str, Tensor | None]]) -> list[Tensor]:
    """The training written by hand."""
    model = made()
    options: dict[str, Any] = dict(BY_HAND.get(name, {}))
    stepping = build(method_of(name), model, ("price_loss", "stars_loss"), optimizer="adam", lr=0.01, options=options)
    for number, (x, y) in enumerate(batches(STEPS)):
        stepping.step(losses(model, x, y, number))
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize("name", ["pcgrad", "uw", "adatask"])
def test_a_weight_that_changes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def weight(number: int) -> float:
        return 2.0 if number % 2 else 0.5**number

    def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
        price_loss, stars_loss, _ = losses_of(model, x, y)
        optimizer.zero_grad()
        (price_loss + weight(number) * stars_loss).backward()
        optimizer.step()

    def by_hand(model: Shop, x: Tensor, y: Tensor, number: int) -> dict[str, Tensor | None]:
        price, stars, _ = losses_of(model, x, y)
        return {"price_loss": price, "stars_loss": weight(number) * stars}

    with counted(monkeypatch) as known, method(tmp_path / "run", name, every=EVERY):
        found = train(step)
    assert sum(known) >= STEPS // 3
    assert same(found, of_tasks(name, by_hand))


def test_tasks_that_change_places_are_not_mistaken_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two losses of one structure, through one head, whose names are swapped in every other step: UW weighs each."""

    def two(model: Shop, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out = model.price(model.trunk(x))[:, 0]
        return (out - y[:, 0]).square().mean(), (out - y[:, 1]).square().mean()

    def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
        first, second = two(model, x, y)
        losses = (
            {"price_loss": second, "stars_loss": first} if number % 2 else {"price_loss": first, "stars_loss": second}
        )
        del first, second
        optimizer.zero_grad()
        sum(losses.values()).backward()  # type: ignore[union-attr]
        optimizer.step()

    def by_hand(model: Shop, x: Tensor, y: Tensor, number: int) -> dict[str, Tensor | None]:
        first, second = two(model, x, y)
        return (
            {"price_loss": second, "stars_loss": first} if number % 2 else {"price_loss": first, "stars_loss": second}
        )

    with counted(monkeypatch) as known, method(tmp_path / "run", "uw", every=EVERY):
        found = train(step)
    assert sum(known) >= STEPS // 3
    assert same(found, of_tasks("uw", by_hand))


def test_a_task_that_is_not_always_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
        price_loss, stars_loss, _ = losses_of(model, x, y)
        loss = price_loss + stars_loss if number % 3 == 0 else price_loss
        del stars_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def by_hand(model: Shop, x: Tensor, y: Tensor, number: int) -> dict[str, Tensor | None]:
        price, stars, _ = losses_of(model, x, y)
        return {"price_loss": price, "stars_loss": stars if number % 3 == 0 else None}

    with counted(monkeypatch), method(tmp_path / "run", "uw", every=EVERY, tasks=("price_loss", "stars_loss")):
        found = train(step)
    assert same(found, of_tasks("uw", by_hand))


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("name", ["famo", "pcgrad", "uw", "adatask"])
def test_a_scale_that_changes_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ends: bool
) -> None:
    """Powers of 2: the same numbers as without; and those of a training in which every step is looked at."""

    def training() -> tuple[Step, torch.amp.GradScaler]:
        scaler = torch.amp.GradScaler("cpu", init_scale=1.0, growth_interval=3)

        def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
            held = scaler
            price_loss, stars_loss, _ = losses_of(model, x, y)
            optimizer.zero_grad()
            held.scale(price_loss + 0.5 * stars_loss).backward()
            if ends and number == 13:
                model.trunk[0].weight.grad[0, 0] = torch.inf  # type: ignore[index, union-attr]
            held.step(optimizer)
            held.update()

        return step, scaler

    def by_hand(model: Shop, x: Tensor, y: Tensor, number: int) -> dict[str, Tensor | None]:
        price, stars, _ = losses_of(model, x, y)
        return {"price_loss": price, "stars_loss": 0.5 * stars}

    step, scaler = training()
    with counted(monkeypatch) as known, method(tmp_path / "run", name, every=EVERY):
        found = train(step)
    scale = scaler.get_scale()
    assert sum(known) >= STEPS // 3
    assert scale > 8
    if not ends and name != "famo":  # which looks back, which the training by hand here does not
        assert same(found, of_tasks(name, by_hand))
    del scaler  # with two in reach nobody knows which one it is
    step, other = training()
    with method(tmp_path / "all", name):
        assert same(found, train(step))
    assert other.get_scale() == scale


@pytest.mark.parametrize("name", ["pcgrad", "uw", "adatask"])
@pytest.mark.parametrize("clipped", [False, True])
def test_a_penalty_that_is_no_task_is_added_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, clipped: bool
) -> None:
    def penalty(model: Shop) -> Tensor:
        return 1e-2 * sum(p.square().sum() for p in model.trunk.parameters())  # type: ignore[return-value]

    def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
        price_loss, stars_loss, _ = losses_of(model, x, y)
        loss = price_loss + (2.0 if number % 2 else 1.0) * stars_loss
        loss = loss + (1 + number % 3) * penalty(model)
        optimizer.zero_grad()
        loss.backward()
        if clipped:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    with counted(monkeypatch) as known, method(tmp_path / "run", name, every=EVERY):
        found = train(step)
    assert sum(known) >= STEPS // 3
    with method(tmp_path / "all", name):
        assert same(found, train(step))
    if name != "pcgrad":
        return
    model, combiner = made(), PCGrad()
    optimizer = adam(list(model.parameters()))
    for number, (x, y) in enumerate(batches(STEPS)):
        price, stars, _ = losses_of(model, x, y)
        optimizer.zero_grad()
        losses = {"price_loss": price, "stars_loss": (2.0 if number % 2 else 1.0) * stars}
        combiner.backward(losses, model)
        ((1 + number % 3) * penalty(model)).backward()  # type: ignore[no-untyped-call]
        if clipped:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    assert same(found, [p.detach() for p in model.parameters()])


def test_hooks_on_a_loss_see_what_they_would_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
        price_loss, stars_loss, _ = losses_of(model, x, y)
        price_loss.register_hook(lambda g: None)
        optimizer.zero_grad()
        (price_loss + stars_loss).backward()
        optimizer.step()

    with counted(monkeypatch) as known, method(tmp_path / "run", "pcgrad", every=EVERY):
        train(step)
    assert not any(known)


def test_several_passes_and_clipping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accumulated over two halves, and clipped: as when every step is looked at."""

    def step(model: Shop, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, number: int) -> None:
        optimizer.zero_grad()
        for half in (slice(6), slice(6, 12)):
            price_loss, stars_loss, sold_loss = losses_of(model, x[half], y[half])
            loss = price_loss + stars_loss + sold_loss
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    for name in ("cagrad", "adatask", "mocograd"):
        with counted(monkeypatch) as known, method(tmp_path / name, name, every=EVERY):
            found = train(step)
        assert sum(known) >= STEPS // 3
        with method(tmp_path / f"{name}-all", name):
            assert same(found, train(step))
