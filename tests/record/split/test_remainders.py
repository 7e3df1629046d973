"""A task's gradient as what the others leave: worked out one by one, together, in tiles and on a device that waits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dominance.record import answers
from dominance.record.split.packs import SMALL
from dominance.record.split.products import TILE
from dominance.record.split.remainders import ROUNDINGS, Remainder

EPS = float(np.finfo(np.float32).eps)
Taken = dict[str, dict[Tensor, Tensor]]


def given(sizes: list[int], others: int) -> tuple[list[nn.Parameter], Taken]:
    """Parameters with a gradient that is the sum of the tasks', of which the first is not known."""
    generator = torch.Generator().manual_seed(sum(sizes) + others)
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    taken: Taken = {"mine": {}, **{f"other {k}": {} for k in range(others)}}
    for p in parameters:
        for k in range(others):
            taken[f"other {k}"][p] = torch.randn(len(p), generator=generator)
        p.grad = torch.randn(len(p), generator=generator) + sum(taken[f"other {k}"][p] for k in range(others))
    return parameters, taken


def wanted(p: nn.Parameter, taken: Taken) -> np.ndarray:
    assert p.grad is not None
    others = [held[p].double().numpy() for name, held in taken.items() if name != "mine" and p in held]
    return p.grad.double().numpy() - np.sum(others, axis=0)


@pytest.mark.parametrize("others", [1, 3])
@pytest.mark.parametrize(
    "sizes", [[3], [1, 5, SMALL], [2, SMALL + 1], [2 * TILE + 7]], ids=["one", "small", "mixed", "large"]
)
@pytest.mark.parametrize("waits", [False, True])
def test_it_is_what_the_others_leave(
    sizes: list[int], others: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if waits:
        monkeypatch.setattr(answers, "AT_HAND", set())
    parameters, taken = given(sizes, others)
    before = [None if p.grad is None else p.grad.clone() for p in parameters]
    rest = Remainder("mine", frozenset(parameters))
    rest.take(parameters, taken)
    for p, grad in zip(parameters, before, strict=True):
        mine = taken["mine"][p].double().numpy()
        np.testing.assert_allclose(mine, wanted(p, taken), rtol=0, atol=others * EPS * 8)
        assert grad is not None
        assert p.grad is not None
        assert torch.equal(p.grad, grad)
    assert rest.closed == (set() if waits else set(parameters))


@pytest.mark.parametrize("size", [7, SMALL + 1, TILE + 1])
@pytest.mark.parametrize("waits", [False, True])
def test_what_is_rounding_is_zero(size: int, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if waits:
        monkeypatch.setattr(answers, "AT_HAND", set())
    parameters, taken = given([size, size], 1)
    nothing, something = parameters
    for p, roundings in ((nothing, ROUNDINGS), (something, 3 * ROUNDINGS)):
        p.grad = taken["other 0"][p] * (1 + EPS * roundings)
    rest = Remainder("mine", frozenset(parameters))
    rest.take(parameters, taken)
    assert not taken["mine"][nothing].any()
    assert taken["mine"][something].any()
    assert nothing not in rest.closed


def test_what_it_does_not_reach_it_has_no_gradient_of() -> None:
    parameters, taken = given([3, 4, 5, 6], 1)
    shared, own, others, without = parameters
    del taken["other 0"][own]
    without.grad = None
    rest = Remainder("mine", frozenset({shared, own, without}))
    rest.take(parameters, taken)
    assert set(taken["mine"]) == {shared, own}
    assert own.grad is not None
    assert torch.equal(taken["mine"][own], own.grad)
    assert taken["mine"][own] is not own.grad
    assert others not in taken["mine"]


def test_it_is_taken_of_some_parameters_and_then_of_others() -> None:
    parameters, taken = given([3, 3], 1)
    first, second = parameters
    rest = Remainder("mine", frozenset(parameters))
    rest.take([first], taken)
    known = taken["mine"][first]
    assert first.grad is not None
    first.grad.zero_()  # its optimizer has stepped
    rest.take(parameters, taken)
    assert taken["mine"][first] is known
    np.testing.assert_allclose(taken["mine"][second].double().numpy(), wanted(second, taken), atol=8 * EPS)


def test_numbers_that_are_not_finite_stay_so() -> None:
    parameters, taken = given([3, 3], 1)
    assert parameters[0].grad is not None
    parameters[0].grad[1] = torch.inf
    rest = Remainder("mine", frozenset(parameters))
    rest.take(parameters, taken)
    assert not taken["mine"][parameters[0]].isfinite().all()
    assert taken["mine"][parameters[1]].isfinite().all()
