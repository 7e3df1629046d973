"""What stands in the place of an attribute can be taken away in any order."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from dominance.record.patches import _stacks, replace


class Base:
    def say(self) -> list[str]:
        return ["base"]


def named(name: str) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        return lambda self: [name, *original(self)]

    return make


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("inherited", [True, False])
def test_in_any_order(order: tuple[int, ...], inherited: bool) -> None:
    class Owner(Base):
        pass

    if not inherited:
        Owner.say = lambda self: ["own"]  # type: ignore[method-assign]
    before, plain = dict(vars(Owner)), Owner().say()
    undo = [replace(Owner, "say", named(name)) for name in "abc"]
    assert Owner().say() == ["c", "b", "a", *plain]
    for number in order:
        undo[number]()
        undo[number]()  # a second time does nothing
    assert {**vars(Owner)} == before
    assert Owner().say() == plain
    assert (id(Owner), "say") not in _stacks


def test_what_is_below_goes_on() -> None:
    class Owner(Base):
        pass

    first, second = replace(Owner, "say", named("a")), replace(Owner, "say", named("b"))
    second()
    assert Owner().say() == ["a", "base"]
    first()
    assert "say" not in vars(Owner)


def test_what_somebody_else_has_put_on_it_stays() -> None:
    class Owner(Base):
        pass

    undo = replace(Owner, "say", named("ours"))
    theirs = named("theirs")(Owner.say)
    Owner.say = theirs  # type: ignore[method-assign]
    undo()
    assert Owner.say is theirs
    assert (id(Owner), "say") not in _stacks


def test_with_somebody_elses_between() -> None:
    class Owner(Base):
        pass

    first = replace(Owner, "say", named("a"))
    theirs = named("theirs")(Owner.say)
    Owner.say = theirs  # type: ignore[method-assign]
    second = replace(Owner, "say", named("b"))
    first(), second()
    assert Owner.say is theirs
    assert (id(Owner), "say") not in _stacks


def test_nothing_of_ours_is_held() -> None:
    class Owner(Base):
        pass

    class Held:
        pass

    def holding() -> weakref.ref[Held]:
        held = Held()

        def make(original: Any) -> Any:
            return lambda self: [str(held), *original(self)]

        first, second = replace(Owner, "say", make), replace(Owner, "say", named("b"))
        first(), second()
        return weakref.ref(held)

    gone = holding()
    gc.collect()
    assert gone() is None
