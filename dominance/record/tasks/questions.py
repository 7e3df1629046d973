"""What is asked of the nodes of a graph beyond how they hang together, noted so that it can be asked of another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

About = TypeVar("About", bound=Hashable)
Answer = TypeVar("Answer")

Noted = dict[tuple[Callable[[Any], Any], Any], Any]
"""The answers, by question and by the node or the edge that it was asked about."""

_noting: Noted | None = None


def question(asked: Callable[[About], Answer]) -> Callable[[About], Answer]:
    """A function of one node, or of one edge, that tells more than the names of nodes and how they hang together."""

    @functools.wraps(asked)
    def ask(about: About) -> Answer:
        global _noting
        noting, _noting = _noting, None  # what it asks itself is answered with it
        try:
            answer = asked(about)
        finally:
            _noting = noting
        if noting is not None:
            noting[ask, about] = answer
        return answer

    return ask


@contextmanager
def noting(into: Noted) -> Iterator[None]:
    """Note the questions that are asked inside, with their answers."""
    global _noting
    before, _noting = _noting, into
    try:
        yield
    finally:
        _noting = before
