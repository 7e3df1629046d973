"""``dominance.observe``: the user names the tasks of the run in progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Observer(Protocol):
    """A recording in progress that wants to know the tasks."""

    def observe(self, losses: Mapping[str, Tensor]) -> None: ...

    def aside(self) -> AbstractContextManager[None]: ...


_active: list[Observer] = []


def observe(losses: Mapping[str, Tensor]) -> None:
    """Name the tasks of the loss that the next ``backward()`` is called on.

    Call it before ``backward()``, at every step, with the tasks' losses as they enter the sum. It does nothing when no
    recording is in progress, so it can stay in a script for good.

    Args:
        losses: task name -> its loss, a tensor that needs gradient (a scalar, or one loss per sample).

    Raises:
        TypeError: ``losses`` is no mapping of names to tensors.

    >>> observe({})
    """
    for observer in _active:
        observer.observe(losses)


def activate(observer: Observer) -> None:
    """Tell ``observer`` of every call from now on."""
    _active.append(observer)


def deactivate(observer: Observer) -> None:
    """Stop telling ``observer``."""
    _active.remove(observer)


@contextmanager
def unwatched() -> Iterator[None]:
    """No recording in progress looks at the passes inside."""
    with ExitStack() as stack:
        for observer in _active:
            stack.enter_context(observer.aside())
        yield
