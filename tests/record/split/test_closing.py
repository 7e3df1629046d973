"""What the tasks' gradients leave of a large one: worked out tile by tile, or asked beforehand of a device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.split import closing as closing_module
from dominance.record.split.closing import Closing
from dominance.record.split.products import TILE

SIZE = 2 * TILE + 100

Closed = Callable[[Tensor, dict[str, Tensor]], tuple[dict[str, Tensor], Tensor | None]]


def tasks() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"a": torch.randn(SIZE), "b": 3 * torch.randn(SIZE), "c": torch.randn(SIZE)}


@pytest.fixture(params=["at hand", "waited for"])
def closed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Closed:
    """``Closing.close``, of numbers that are at hand, or that a device would be waited for, but for one time."""
    if request.param == "waited for":
        monkeypatch.setattr(answers, "AT_HAND", set())

    def close(total: Tensor, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
        with answers.asking([total]):
            closing = Closing(total, total, given)
            answers.ask(closing.asked())
            return closing.close()

    return close


def test_rounding_goes_to_the_largest_task(closed: Closed) -> None:
    given = tasks()
    total = given["c"] + given["b"] + given["a"]

    held, left = closed(total, given)

    assert left is None
    assert held["a"] is given["a"]
    want = total.clone()
    for gradient in given.values():
        want -= gradient
    assert torch.equal(held["b"], want + given["b"])


@pytest.mark.parametrize("place", [0, TILE, SIZE - 1])
def test_rounding_stays_where_the_largest_task_has_no_gradient(place: int, closed: Closed) -> None:
    given = tasks()
    total = given["c"] + given["b"] + given["a"]
    given["a"][place], given["b"][place], given["c"][place] = 1e-3, 0, 1e-3
    total[place] = 2.001e-3

    held, left = closed(total, given)

    assert left is None
    assert held["b"][place] == 0
    assert not torch.equal(held["a"], given["a"])


@pytest.mark.parametrize("place", [0, TILE, SIZE - 1])
def test_more_than_rounding_is_left(place: int, closed: Closed) -> None:
    given = tasks()
    total = given["a"] + given["b"] + given["c"]
    total[place] += 10

    held, left = closed(total, given)

    assert left is not None
    assert left[place] == pytest.approx(10, rel=1e-5)
    assert all(held[name] is given[name] for name in given)


def test_large_numbers_in_double_precision_are_not_too_large_to_square(closed: Closed) -> None:
    given = {name: 1e200 * gradient.double() for name, gradient in tasks().items()}
    total = given["a"] + given["b"] + given["c"]

    held, left = closed(total, given)

    summed = held["a"] + held["b"] + held["c"]
    torch.testing.assert_close(summed if left is None else summed + left, total)


def test_rounding_that_is_left_where_no_task_has_a_gradient_is_nobodys(closed: Closed) -> None:
    given = tasks()
    total = given["c"] + given["b"] + given["a"]
    for gradient in given.values():
        gradient[7] = 0
    total[7] = 1e-6

    held, left = closed(total, given)

    assert left is not None
    assert left.nonzero().tolist() == [[7]]
    assert all(gradient[7] == 0 for gradient in held.values())
    assert torch.equal(held["b"] + held["a"] + held["c"] != 0, total - left != 0)


@pytest.mark.parametrize("few", [True, False])
def test_each_number_goes_to_the_largest_task_that_has_a_gradient_there(few: bool, closed: Closed) -> None:
    """As one would by hand: coordinate by coordinate."""
    given = tasks()
    at = torch.arange(SIZE)
    at = at[at % 1000 == 7] if few else at[at % 4 != 0]
    given["b"][at] = 0
    given["a"][at[::2]] = 0
    given["c"][at[::4]] = 0
    total = given["c"] + given["b"] + given["a"]
    total[at] += 1e-6
    before = {name: gradient.clone() for name, gradient in given.items()}
    order = sorted(given, key=lambda name: -float(given[name].norm()))

    held, left = closed(total, given)

    off = total.clone()
    for gradient in before.values():
        off -= gradient
    want = {name: gradient.clone() for name, gradient in before.items()}
    for name in order:
        here = before[name] != 0
        want[name][here] += off[here]
        off = off.masked_fill(here, 0)
    assert left is not None
    assert torch.equal(left, off)
    assert all(torch.equal(held[name], want[name]) for name in given)
    assert all(torch.equal(given[name], before[name]) for name in given)


def test_who_has_asked_waits_for_no_device_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = tasks()
    total = given["c"] + given["b"] + given["a"]
    given["b"][7] = 0
    total[7] = 1e-6 + given["a"][7] + given["c"][7]
    monkeypatch.setattr(answers, "AT_HAND", set())
    with answers.asking([total]):
        closing = Closing(total, total, given)
        answers.ask(closing.asked())
        monkeypatch.setattr(closing_module, "nonzero", lambda tensor: pytest.fail("it was asked before"))
        held, left = closing.close()
    assert left is None
    assert held["b"][7] == 0


@pytest.mark.parametrize(("size", "nowhere", "listed"), [(SIZE, 100, True), (SIZE, SIZE - 100, False), (50, 1, False)])
def test_what_lies_where_a_gradient_is_zero_is_listed_where_it_is_little(size: int, nowhere: int, listed: bool) -> None:
    """Of a small gradient, or where most of it is zero, what is left stays as it was, to be asked otherwise."""
    left, gradient = torch.full((size,), 1e-6), torch.ones(size)
    gradient[:nowhere] = 0
    found = closing_module._add_where_not_zero(left, gradient)
    if listed:
        assert found is not None
        assert found.index.tolist() == list(range(nowhere))
        assert torch.equal(left, torch.where(gradient == 0, 0, gradient + 1e-6))
    else:
        assert found is None
        assert torch.equal(left, torch.full((size,), 1e-6))
