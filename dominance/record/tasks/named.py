"""``dominance.observe``: the user names the tasks of the run in progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from dominance.record.tasks.shares import MakesShares, Shares


class Observer(Protocol):
    """A recording in progress that wants to know the tasks."""

    def observe(self, losses: Mapping[str, Tensor]) -> None: ...

    def log(self, task: str | None, split: str, metrics: Mapping[str, float]) -> None: ...

    def aside(self) -> AbstractContextManager[None]: ...


_active: list[Observer] = []


def observe(
    losses: Mapping[str, Tensor] | None = None,
    *,
    at: Tensor | None = None,
    shares: MakesShares | Shares | None = None,
    columns: tuple[Tensor, Sequence[str]] | None = None,
) -> None:
    """Name the tasks of the loss that the next ``backward()`` is called on.

    Call it before ``backward()``, at every step, with the tasks' losses as they enter the sum. Where one loss is
    computed from one output of several columns, name the output and its columns instead: each column is a task then,
    and its gradient that of the loss through this column, exactly. It does nothing when no recording is in progress,
    so it can stay in a script for good.

    Args:
        losses: task name -> its loss, a tensor that needs gradient (a scalar, or one loss per sample).
        at: a tensor that the loss is computed from, like the logits; the tasks are shares of the gradient through it.
        shares: ``by_column(names)``, ``by_group(ids)``, ``by_class(target)``, ``by_part(name=mask)``, or task name ->
            share of each entry of ``at``.
        columns: short for ``at=columns[0], shares=by_column(columns[1])``.

    Raises:
        TypeError: ``losses`` is no mapping of names to tensors, or none of the ways to name tasks is given whole.
        ValueError: the shares do not fit the tensor.

    >>> observe({})
    """
    if not _active:
        return
    if (losses is not None) + (at is not None) + (columns is not None) != 1 or (at is None) != (shares is None):
        raise TypeError("observe takes losses, or at= and shares=, or columns=(tensor, names)")
    if losses is None:
        from dominance.record.tasks.shares import by_column, told

        if columns is not None:
            at, shares = columns[0], by_column(columns[1])
        if at is not None and shares is not None:
            losses = told(at, shares)
    for observer in _active:
        observer.observe(losses or {})


def observers() -> tuple[Observer, ...]:
    """The recordings in progress."""
    return tuple(_active)


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
