"""Which optimizers of a run count, and that none is kept alive."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch
from record.rules import foreign
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.split.splits import GradientSplit
from dominance.record.split.steppers import Steppers


def parameters(count: int = 2) -> list[Tensor]:
    return [torch.ones(3, requires_grad=True) for _ in range(count)]


class Wrapper(Optimizer):
    """Hands everything on to another optimizer, without ever being initialised."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    state = property(lambda self: self.optimizer.state)  # type: ignore[assignment]
    param_groups = property(lambda self: self.optimizer.param_groups)  # type: ignore[assignment]

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)


class Sharing:
    """A dynamic subclass that shares the optimizer's attributes, and hands step(closure) on."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.__dict__ = {key: value for key, value in optimizer.__dict__.items() if key != "step"}
        self.__class__ = type(f"Sharing{type(optimizer).__name__}", (Sharing, type(optimizer)), {})
        self.inner = optimizer

    def step(self, closure: Any) -> Any:
        return self.inner.step(closure)


class Balance(Optimizer):
    """Rescales the gradients of several losses, for another optimizer to step; its groups hold no lr."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"relax": 0.5})

    def step(self, losses: Any) -> None:  # type: ignore[override]
        for loss in losses:
            loss.backward()


def test_a_wrapper_does_not_count() -> None:
    for wrap in (Wrapper, Sharing):
        inner = torch.optim.AdamW(parameters())
        steppers = Steppers("additive", None)
        steppers.known = [wrap(inner), inner]  # type: ignore[list-item]
        steppers.begin(inner)
        assert steppers.linear


def test_an_optimizer_that_cannot_step_by_itself_does_not_count() -> None:
    shared, own = parameters(), parameters()
    adam = torch.optim.Adam(own)
    steppers = Steppers("additive", None)
    balance = Balance(shared)
    steppers.known = [balance, adam]
    steppers.begin(adam)
    assert steppers.linear


def test_another_optimizer_counts_before_it_has_stepped() -> None:
    steppers = Steppers("additive", None)
    adam, lion, belief = torch.optim.Adam(parameters()), foreign.Signed(parameters()), foreign.Belief(parameters())
    steppers.known = [adam, belief]
    steppers.begin(adam)
    assert steppers.linear
    steppers.known = [adam, lion]
    assert not steppers.linear


def test_beside_one_that_is_not_linear_solo_updates_are_computed_too() -> None:
    steppers = Steppers("additive", None)
    lion, adam = foreign.Signed(parameters()), torch.optim.Adam(parameters())
    for optimizer in (lion, adam):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = torch.ones(3)
    steppers.begin(lion)
    attributor = steppers.begin(adam)
    attributor.before_step(adam.param_groups[0]["params"])
    adam.step()
    splits = dict(attributor.splits({p: GradientSplit({"a": p.grad}) for p in adam.param_groups[0]["params"]}))
    assert all(set(split.solo) == set(split.tasks) == {"a"} for split in splits.values())


def test_optimizers_are_let_go_with_what_is_known_of_them() -> None:
    steppers = Steppers("additive", None)
    gone = []
    for _ in range(3):
        optimizer = torch.optim.Adam(parameters())
        mine = optimizer.param_groups[0]["params"]
        for p in mine:
            p.grad = torch.ones(3)
        steppers.known = [optimizer]
        attributor = steppers.begin(optimizer)
        attributor.before_step(mine)
        optimizer.step()
        for _ in attributor.splits({p: GradientSplit({"a": p.grad}) for p in mine}):
            pass
        steppers.recorded(optimizer)
        gone += [weakref.ref(optimizer), *map(weakref.ref, mine)]
        del optimizer, attributor, mine, p, _
    steppers.begin(torch.optim.SGD(parameters()))
    gc.collect()
    assert all(reference() is None for reference in gone)
    assert steppers.attributors == []
    assert steppers.known == []


def test_an_id_that_is_given_anew_is_another_optimizer() -> None:
    steppers = Steppers("additive", None)
    first, second = torch.optim.Adam(parameters()), torch.optim.Adam(parameters())
    steppers.begin(first)
    steppers._attributors[id(second)] = steppers._attributors[id(first)]
    steppers._unseen[id(second)] = steppers._unseen[id(first)]
    assert steppers.get(second) is None
    assert steppers.begin(second) is not steppers.get(first)
    assert steppers.begin(second).optimizer is second


def test_only_those_asked_for() -> None:
    first, second = torch.optim.Adam(parameters()), torch.optim.Adam(parameters())
    steppers = Steppers("additive", [first])
    assert steppers.ours(first)
    assert not steppers.ours(second)


def test_one_that_is_dropped_counts_no_more() -> None:
    steppers = Steppers("additive", None)
    lion, adam = foreign.Signed(parameters()), torch.optim.Adam(parameters())
    steppers.begin(lion)
    steppers.begin(adam)
    assert not steppers.linear
    steppers.drop(lion)
    assert steppers.linear
