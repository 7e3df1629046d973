"""Each method on a script as it is takes the steps that it takes in the same script written by hand, to the bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cure.shop import TASKS, adam, batches, losses_of, made, method, same, script
from torch import Tensor

import dominance
from dominance.benchmarks.train.method_names import METHODS
from dominance.benchmarks.train.methods import OPTIMIZERS, build
from dominance.cure.choice import usable

STEPS = 6
OPTIONS = {
    "weights": ["stars_loss=0.25,sold_loss=2"],  # and 1 of the third
    "dwa": ["epoch=2"],
    "igb": ["epoch=2"],
    "pareto-mtl": ["preference=price_loss:0.2,stars_loss:0.3,sold_loss:0.5"],
}
BY_HAND = {
    "weights": {"weights": {"price_loss": 1.0, "stars_loss": 0.25, "sold_loss": 2.0}},
    "pareto-mtl": {"preference": {"price_loss": 0.2, "stars_loss": 0.3, "sold_loss": 0.5}},
}


def by_hand(name: str, base: str = "adam", steps: int = STEPS) -> list[Tensor]:
    model = made()
    chosen = METHODS["grid-search" if name == "weights" else name]
    options: dict[str, Any] = dict(BY_HAND.get(name, {}))
    if base == "adagrad" and chosen.step == "pub":
        options["eps"] = 1e-10  # torch's own, which a script that says nothing has
    stepping = build(chosen, model, TASKS, optimizer=base, lr=0.01, options=options)
    for step, (x, y) in enumerate(batches(steps)):
        price, stars, sold = losses_of(model, x, y)
        losses = dict(zip(TASKS, (price, 0.5 * stars, sold), strict=True))
        if step:
            stepping.look_back(partial(dict, losses))
        stepping.step(losses)
        if name in ("dwa", "igb") and step % 2:
            stepping.epoch()
    return [p.detach().clone() for p in model.parameters()]


def by_script(path: Path, name: str, make: Any = adam) -> list[Tensor]:
    with method(path, name, *OPTIONS.get(name, ())):
        return script(STEPS, make)


@pytest.fixture(scope="module")
def as_it_is() -> list[Tensor]:
    """The parameters after the script alone."""
    return script(STEPS)


@pytest.mark.parametrize("name", usable())
def test_a_method_on_a_script_is_the_method_by_hand_and_its_run_is_of_the_script(
    tmp_path: Path, name: str, as_it_is: list[Tensor]
) -> None:
    trained = by_script(tmp_path / "run", name)
    assert same(trained, by_hand(name))
    assert same(trained, as_it_is) == (name == "equal-weight")
    model = made()
    x, y = next(batches(1))
    expected = [float(loss.detach()) for loss in losses_of(model, x, y)]
    with dominance.open_run(tmp_path / "run") as run:
        assert run["step"].values.tolist() == list(range(STEPS))
        assert run["loss/loss"].sel(task=list(TASKS)).values[0].tolist() == pytest.approx(expected)
        assert run.attrs["method"] == name
        assert float(run["closure"].max() if "closure" in run else 0) < 1e-3


@pytest.mark.parametrize("base", ["rmsprop", "adagrad"])
@pytest.mark.parametrize("name", ["adatask", "ladatask", "adatask+cagrad", "pub", "pub+adatask"])
def test_an_optimizer_of_another_family(tmp_path: Path, name: str, base: str) -> None:
    kind = OPTIMIZERS[base][0]
    assert same(by_script(tmp_path / "run", name, lambda p: kind(p, lr=0.01)), by_hand(name, base))
