"""Which class's step an optimizer runs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from dominance.record.rules import _RULES
from dominance.record.rules.known import known_class, undecorated_step


def parameter() -> Tensor:
    return torch.zeros(2, 2, requires_grad=True)


def test_every_class_of_torch_optim_is_covered() -> None:
    classes = {
        name
        for name, value in vars(torch.optim).items()
        if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    assert classes - set(_RULES) == {"Rprop", "LBFGS", "Muon"} & classes
    for name in classes:
        assert known_class(getattr(torch.optim, name)([parameter()], lr=0.1)) == name


class Plain(torch.optim.SGD):
    pass


class Twice(Plain):
    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)


class Other(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Adam(torch.optim.Optimizer):
    """Not torch's, in spite of its name."""

    def step(self, closure: Any = None) -> None:
        return None


def test_subclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.SGD, "step", undecorated_step(torch.optim.SGD))  # as at the start of a process
    for _ in range(2):  # before and after the parent's own step is wrapped to run hooks
        assert known_class(Plain([parameter()], lr=0.1)) == "SGD"
        assert known_class(Twice([parameter()], lr=0.1)) == "SGD"
        assert known_class(Other([parameter()], lr=0.1)) is None
        assert known_class(Adam([parameter()], {})) is None
        torch.optim.SGD([parameter()], lr=0.1)
