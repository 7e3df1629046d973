"""An optimizer whose code works on more than itself is not run on a copy: that would step the real thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from dominance.record.rules.outside import reaches_outside
from dominance.record.rules.shadow import Fence

NET = nn.Linear(2, 1)
REAL = SGD(NET.parameters(), lr=0.1)


def closed_over(inner: Optimizer) -> Optimizer:
    class Wrapped(inner.__class__):  # type: ignore[misc, name-defined]
        def step(self, closure: Any = None) -> Any:
            return inner.step(closure)

    wrapped: Optimizer = Wrapped.__new__(Wrapped)
    wrapped.__dict__ = inner.__dict__
    return wrapped


def by_a_helper(inner: Optimizer) -> Optimizer:
    def helper() -> None:
        inner.step()

    class Wrapped(SGD):
        def step(self, closure: Any = None) -> Any:
            helper()

    return Wrapped(NET.parameters(), lr=0.1)


def by_a_global(inner: Optimizer) -> Optimizer:
    class Wrapped(SGD):
        def step(self, closure: Any = None) -> Any:
            REAL.step()

    return Wrapped(NET.parameters(), lr=0.1)


def by_a_bound_method(inner: Optimizer) -> Optimizer:
    step = inner.step

    class Wrapped(SGD):
        def step(self, closure: Any = None) -> Any:
            step()

    return Wrapped(NET.parameters(), lr=0.1)


@pytest.mark.parametrize("make", [closed_over, by_a_helper, by_a_global, by_a_bound_method])
def test_the_real_parameters_are_not_stepped(make: Callable[[Optimizer], Optimizer]) -> None:
    made = make(REAL)
    assert "SGD" in reaches_outside(made) or "itself" in reaches_outside(made)
    fence = Fence(made, foreign=True)
    assert fence.run(made.step) is None
    assert "it works on" in fence.failed


class Own(SGD):
    """Uses a global's name for an attribute of its own, and itself only."""

    def step(self, closure: Any = None) -> Any:
        self.NET = len(self.param_groups)
        return super().step(closure)


def test_an_optimizer_of_its_own_is_run() -> None:
    own = Own(NET.parameters(), lr=0.1)
    assert reaches_outside(own) == ""
    assert not Fence(own, foreign=True).failed
    assert reaches_outside(torch.optim.Adam(NET.parameters())) == ""
