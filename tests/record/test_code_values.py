"""Which parameters a function's code can reach."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dominance.record.code_values import parameters_used
from dominance.record.tasks.graph import leaves, reach


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(3, 2)
        self.head = nn.Linear(2, 1)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def body(self, x: Tensor) -> Tensor:
        return self.trunk(x) * self.scale

    def scaled(self, x: Tensor) -> Tensor:
        return self.scale * self.only(x)

    def only(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def by_word(self, x: Tensor) -> Tensor:
        return self.scale * getattr(self, "tr" + "unk")(x)

    def closed(self) -> Callable[[Tensor], Tensor]:
        return lambda x: self.trunk(x)


NET = Net()


def by_global(x: Tensor) -> Tensor:
    return NET.head(x)


def through_a_function(x: Tensor) -> Tensor:
    return by_global(x)


def names(found: list[Tensor], net: nn.Module = NET) -> set[str]:
    known = {id(p): name for name, p in net.named_parameters()}
    return {known[id(p)] for p in found}


TRUNK, HEAD = {"trunk.weight", "trunk.bias"}, {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (NET, TRUNK | HEAD | {"scale"}),
        (NET.trunk, TRUNK),
        (NET.body, TRUNK | {"scale"}),
        (NET.scaled, TRUNK | {"scale"}),
        (NET.by_word, TRUNK | HEAD | {"scale"}),
        (NET.closed(), TRUNK),
        (by_global, HEAD),
        (through_a_function, HEAD),
        (functools.partial(lambda layer, x: layer(x), NET.head), HEAD),
        (torch.tanh, set()),
    ],
    ids=["module", "part", "method", "methods", "getattr", "lambda", "global", "function", "partial", "builtin"],
)
def test_parameters_used(function: Any, expected: set[str]) -> None:
    assert names(parameters_used(function)) == expected


def test_frozen_parameters_are_not_reached() -> None:
    net = Net()
    net.trunk.requires_grad_(False)
    assert names(parameters_used(net.body), net) == {"scale"}


def test_a_pass_reaches_what_a_re_entrant_checkpoint_hides() -> None:
    net = Net()
    x = torch.randn(4, 3, requires_grad=True)
    loss = net.head(checkpoint(net.body, x, use_reentrant=True)).sum()
    found = leaves([loss.grad_fn])
    assert names([p for p in found if p is not x], net) == TRUNK | HEAD | {"scale"}
    assert reach([loss.grad_fn], {id(p) for p in net.parameters()}) == [frozenset(id(p) for p in net.parameters())]
