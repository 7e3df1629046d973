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

REAL: Optimizer | None = None
"""Set for the time of one test: an optimizer that outlives it would be found by tests that look through the program."""


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Optimizer:
    made = SGD(nn.Linear(2, 1).parameters(), lr=0.1)
    monkeypatch.setitem(globals(), "REAL", made)
    return made


def over_the_same(kind: type[Optimizer], inner: Optimizer) -> Optimizer:
    """An optimizer of this class over the parameters of another."""
    return kind(inner.param_groups[0]["params"], lr=0.1)  # type: ignore[call-arg]


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

    return over_the_same(Wrapped, inner)


def by_a_global(inner: Optimizer) -> Optimizer:
    class Wrapped(SGD):
        def step(self, closure: Any = None) -> Any:
            assert REAL is not None
            REAL.step()

    return over_the_same(Wrapped, inner)


def by_a_bound_method(inner: Optimizer) -> Optimizer:
    step = inner.step

    class Wrapped(SGD):
        def step(self, closure: Any = None) -> Any:
            step()

    return over_the_same(Wrapped, inner)


@pytest.mark.parametrize("make", [closed_over, by_a_helper, by_a_global, by_a_bound_method])
def test_the_real_parameters_are_not_stepped(make: Callable[[Optimizer], Optimizer], real: Optimizer) -> None:
    made = make(real)
    assert "SGD" in reaches_outside(made) or "itself" in reaches_outside(made)
    fence = Fence(made, foreign=True)
    assert fence.run(made.step) is None
    assert "it works on" in fence.failed


class Own(SGD):
    """Uses a global's name for an attribute of its own, and itself only."""

    def step(self, closure: Any = None) -> Any:
        self.REAL = len(self.param_groups)
        return super().step(closure)


def test_an_optimizer_of_its_own_is_run(real: Optimizer) -> None:
    own = over_the_same(Own, real)
    assert reaches_outside(own) == ""
    assert not Fence(own, foreign=True).failed
    assert reaches_outside(over_the_same(torch.optim.Adam, real)) == ""
