"""Checks of a benchmark's settings. Each takes one keyword, whose name the message then has, and returns its value."""

from __future__ import annotations

from dominance.errors import BadOption


def at_least(least: int, /, **setting: int) -> int:
    """
    Raises:
        BadOption: the number is smaller.

    >>> at_least(1, width=100)
    100
    """
    ((name, value),) = setting.items()
    if value < least:
        raise BadOption(f"{name}={value} is too small", fix=f"give {least} or more")
    return value


def one_of(choices: tuple[str, ...], /, **setting: str) -> str:
    """
    Raises:
        BadOption: the word is none of the choices.
    """
    ((name, value),) = setting.items()
    if value not in choices:
        raise BadOption(f"{name}={value!r} is unknown", fix=f"choose from {', '.join(choices)}")
    return value


def share(**setting: float) -> float:
    """
    Raises:
        BadOption: the number is not between 0 and 1, both excluded.
    """
    ((name, value),) = setting.items()
    if not 0 < value < 1:
        raise BadOption(f"{name}={value} is no share", fix="give a number between 0 and 1")
    return value
