"""What a script cannot take is said in one line, before its first step has changed anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cure.shop import Shop, adam, batches, losses_of, made, method, same
from torch import Tensor

from dominance.cure.choice import choose
from dominance.errors import BadOption


def said(path: Path, name: str, train: Callable[[Shop], None], *options: str) -> str:
    """What is said of a script, whose model is as it was."""
    model = made()
    with method(path, name, *options) as texts, pytest.raises(SystemExit) as stop:
        train(model)
    assert stop.value.code == 2
    assert same(list(model.parameters()), list(made().parameters()))
    return " ".join(texts)


def total(model: Shop, x: Tensor, y: Tensor) -> Tensor:
    price_loss, stars_loss, sold_loss = losses_of(model, x, y)
    return price_loss + stars_loss + sold_loss


def stepped(model: Shop, optimizer: torch.optim.Optimizer) -> None:
    total(model, *next(batches(1))).backward()
    optimizer.step()


def test_one_task(tmp_path: Path) -> None:
    def train(model: Shop) -> None:
        optimizer = adam(model.parameters())
        price_loss, _, _ = losses_of(model, *next(batches(1)))
        price_loss.backward()
        optimizer.step()

    assert "one task was found (price_loss)" in said(tmp_path / "run", "pcgrad", train)


@pytest.mark.parametrize("name", ["adatask", "pub", "clippy"])
def test_an_optimizer_of_no_family(tmp_path: Path, name: str) -> None:
    text = said(tmp_path / "run", name, lambda model: stepped(model, torch.optim.SGD(model.parameters(), lr=0.1)))
    assert "in the place of Adam, AdamW" in text
    assert "the script has SGD" in text


def test_an_option_of_the_optimizer(tmp_path: Path) -> None:
    def train(model: Shop) -> None:
        stepped(model, torch.optim.RMSprop(model.parameters(), momentum=0.9))

    assert "no form of RMSprop with momentum=0.9" in said(tmp_path / "run", "adatask", train)


def test_gradients_that_the_script_takes_itself(tmp_path: Path) -> None:
    def train(model: Shop) -> None:
        optimizer = adam(model.parameters())
        parameters = list(model.parameters())
        for p, g in zip(parameters, torch.autograd.grad(total(model, *next(batches(1))), parameters), strict=True):
            p.grad = g
        optimizer.step()

    assert "no task was found" in said(tmp_path / "run", "pcgrad", train)


def test_hooks_that_step_within_backward(tmp_path: Path) -> None:
    def train(model: Shop) -> None:
        for p in model.parameters():
            p.register_post_accumulate_grad_hook(lambda p: None)
        stepped(model, adam(model.parameters()))

    assert "register_post_accumulate_grad_hook" in said(tmp_path / "run", "pcgrad", train)


def test_epochs_that_nobody_sees(tmp_path: Path) -> None:
    text = said(tmp_path / "run", "dwa", lambda model: stepped(model, adam(model.parameters())))
    assert "--method-option epoch=" in text


def test_a_weight_of_a_task_that_there_is_not(tmp_path: Path) -> None:
    text = said(tmp_path / "run", "weights", lambda model: stepped(model, adam(model.parameters())), "stras=2")
    assert "no task stras was found in the first step, but price, stars, sold" in text


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("pcgard", [], "did you mean pcgrad"),
        ("stl", [], "--alone"),
        ("mgda-ub", [], "use mgda"),
        ("weights", [], "a weight of a task"),
        ("weights", ["a=b"], "no weight of a task"),
        ("dwa", ["epoch=x"], "no number of steps"),
    ],
)
def test_what_cannot_be_chosen(name: str, options: list[str], word: str) -> None:
    with pytest.raises(BadOption) as error:
        choose(name, options)
    assert word in str(error.value)
