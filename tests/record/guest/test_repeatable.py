"""What the code of a function shows of its effects."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dominance.record.guest.repeatable import Effect, effect

counts: dict[str, int] = {}
tally: Counter[str] = Counter()
total = 0


def halves(x: Tensor) -> Tensor:
    return x.float() / 2


def through_another(x: Tensor) -> tuple[Tensor, None]:
    return halves(F.relu(torch.sin(x))), None


def prints(x: Tensor) -> Tensor:
    print("unpacking", tuple(x.shape), f"{x.sum():.3f}")
    return x


def reads_what_is_outside(x: Any) -> Any:
    return [each for each in (counts.get("x"), *x) if isinstance(each, int)]


def raises(x: Tensor) -> Tensor:
    raise ValueError("no")


def in_place(x: Tensor) -> Tensor:
    return x.mul_(2)


def augmented(x: Tensor) -> Tensor:
    x *= 2
    return x


def calls_a_local(f: Callable[[], Tensor]) -> Tensor:
    return f()


def fills_its_own(x: Tensor) -> Tensor:
    out = x.clone()
    out[0] = 0
    return out


def counts_globally(x: Tensor) -> Tensor:
    counts["calls"] = counts.get("calls", 0) + 1
    return x


def tallies(x: Tensor) -> Tensor:
    tally["calls"] += 1
    return x


def rebinds(x: Tensor) -> Tensor:
    global total
    total += 1
    return x


def sets_an_attribute(x: Any) -> Any:
    x.seen = True
    return x


def takes_out(key: str) -> Any:
    return counts.pop(key)


def opens(path: str) -> Any:
    return torch.load(open(path, "rb"))


def runs_a_backward(x: Tensor) -> None:
    torch.autograd.backward(x)


def runs_a_method(x: Tensor) -> None:
    x.sum().backward()


def deep_down(x: Tensor) -> Tensor:
    return torch.stack([takes_out(str(each)) for each in x])


def closure() -> Callable[[Tensor], Tensor]:
    seen = 0

    def unpack(x: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        return x

    return unpack


class Unpack:
    def __call__(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        *((f, Effect.NONE) for f in (halves, through_another, prints, reads_what_is_outside, raises, torch.sin)),
        (functools.partial(halves), Effect.NONE),
        *((f, Effect.UNKNOWN) for f in (in_place, augmented, calls_a_local, fills_its_own, Unpack(), len)),
        *((f, Effect.SURE) for f in (counts_globally, tallies, rebinds, sets_an_attribute, takes_out, opens)),
        *((f, Effect.SURE) for f in (runs_a_backward, runs_a_method, deep_down, closure())),
    ],
)
def test_effects(function: Any, expected: Effect) -> None:
    assert effect(function) is expected
