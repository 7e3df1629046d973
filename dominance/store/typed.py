"""Types of values that come from a JSON document which a stranger may have written.

A type is a function of a value and of its place in the document that raises ``Unfit`` where the value is of another
one. Written out here: the recorder reads attributes too, in the process of a script that a validation library and all
that it imports would be loaded into.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Type: TypeAlias = "Callable[[Any, str], None]"

DEEPEST = 40
"""Lists and objects within each other that are read."""

LARGEST = 2**63 - 1


class Unfit(ValueError):
    """A value is of another type; says where it stands and what it should be."""


def parse(data: bytes) -> Any:
    """The JSON document.

    Raises:
        Unfit: it is none, or is nested too deeply.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, json.JSONDecodeError) else "it is no JSON"
        raise Unfit(said) from None
    level = [found]
    for _ in range(DEEPEST):
        if not level:
            return found
        inside: list[Any] = []
        for value in level:
            inside += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        level = [value for value in inside if isinstance(value, dict | list)]
    raise Unfit(f"more than {DEEPEST} lists and objects lie within each other")


def fits(value: Any, kind: Type) -> bool:
    """Whether the value is of this type."""
    try:
        kind(value, "")
    except Unfit:
        return False
    return True


def anything(value: Any, at: str) -> None:
    """Of every type."""


def text(value: Any, at: str) -> None:
    """A string."""
    if not isinstance(value, str):
        raise Unfit(f"{at} is no text")


def truth(value: Any, at: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise Unfit(f"{at} is neither true nor false")


def number(value: Any, at: str) -> None:
    """A number, which may be infinite or NaN; whole ones have 63 bits at most."""
    if isinstance(value, float):
        return
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise Unfit(f"{at} is no number")


def whole(least: int = 0, most: int = LARGEST) -> Type:
    """A whole number between the two, both included."""

    def check(value: Any, at: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Unfit(f"{at} is no whole number")
        if not least <= value <= most:
            raise Unfit(f"{at} is {value if abs(value) <= LARGEST else 'a number'} out of range")

    return check


def one_of(*choices: str) -> Type:
    """One of these words."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, str) or value not in choices:
            raise Unfit(f"{at} is none of {', '.join(choices)}")

    return check


def maybe(kind: Type) -> Type:
    """That, or null."""

    def check(value: Any, at: str) -> None:
        if value is not None:
            kind(value, at)

    return check


def listed(kind: Type) -> Type:
    """A list of these."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, list | tuple):
            raise Unfit(f"{at} is no list")
        for place, item in enumerate(value):
            kind(item, f"{at}[{place}]")

    return check


def keyed(kind: Type) -> Type:
    """An object whose values are of this type, under any names."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, Mapping):
            raise Unfit(f"{at} is no object")
        for key, item in value.items():
            kind(item, f"{at}.{key}")

    return check


def fields(required: Mapping[str, Type], optional: Mapping[str, Type] | None = None) -> Type:
    """An object with these; it may have others, of any type."""
    known = {**(optional or {}), **required}

    def check(value: Any, at: str) -> None:
        if not isinstance(value, Mapping):
            raise Unfit(f"{at} is no object" if at else "it is no object")
        for name in required:
            if name not in value:
                raise Unfit(f"{at} lacks {name}" if at else f"it lacks {name}")
        for name, kind in known.items():
            if name in value:
                kind(value[name], f"{at}.{name}" if at else name)

    return check


def names(value: Any, at: str) -> None:
    """A list of texts, each once."""
    listed(text)(value, at)
    if len(set(value)) != len(value):
        twice = next(name for place, name in enumerate(value) if name in value[:place])
        raise Unfit(f"{at} has {twice[:80]!r} twice")
