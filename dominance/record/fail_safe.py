"""A fault of the recorder ends the recording, never the training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class Fallible(Protocol):
    """What can be told that it failed, and goes on doing nothing."""

    @property
    def failure(self) -> str | None: ...

    def fail(self, error: BaseException) -> None: ...


P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Fallible)


def harmless(method: Callable[Concatenate[F, P], R]) -> Callable[Concatenate[F, P], R | None]:
    """The method, called only while nothing has failed; whatever it raises is a failure."""

    @functools.wraps(method)
    def call(self: F, /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        if self.failure is not None:
            return None
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  whatever it is, the script must go on as without us
            self.fail(error)
            return None

    return call
