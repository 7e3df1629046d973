"""What a formula asks of the losses, said before anything is computed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dominance.optim.engine.task_gradients import Matrix

PATIENCE = 200
"""Passes before something counts as forgotten: more than anyone accumulates into one step."""


def finite(losses: Matrix, tasks: Sequence[str], method: object) -> None:
    """Raise FloatingPointError for a loss that would spoil what the method remembers."""
    _refuse(~np.isfinite(losses), losses, tasks, method, "needs finite losses", FloatingPointError)


def positive(losses: Matrix, tasks: Sequence[str], method: object, why: str) -> None:
    """Raise ValueError for a loss that is zero or negative, FloatingPointError for one that is not finite."""
    finite(losses, tasks, method)
    _refuse(losses <= 0, losses, tasks, method, f"needs positive losses ({why})", ValueError)


def not_negative(losses: Matrix, tasks: Sequence[str], method: object, why: str) -> None:
    """Raise ValueError for a negative loss, FloatingPointError for one that is not finite."""
    finite(losses, tasks, method)
    _refuse(losses < 0, losses, tasks, method, f"needs losses of zero or more ({why})", ValueError)


def known(given: Sequence[str], tasks: Sequence[str], method: object) -> None:
    """Raise ValueError for a task that the method was not made for."""
    strangers = [task for task in tasks if task not in given]
    if strangers:
        raise ValueError(f"{type(method).__name__} was made for {', '.join(given)}, not for {', '.join(strangers)}")


def named_by(tasks: Iterable[object], method: object) -> None:
    """Raise TypeError unless tasks are named by strings."""
    if isinstance(tasks, str):
        raise TypeError(f"{type(method).__name__} takes the names of several tasks, not the string {tasks!r}")
    for task in tasks:
        if not isinstance(task, str):
            raise TypeError(f"{type(method).__name__} takes names of tasks, and {task!r} is no string")


class Still:
    """Warns, once, if what is to be learnt is still as it was after so many passes: nobody moves it then.

    Args:
        advice: what is forgotten.
    """

    def __init__(self, advice: str) -> None:
        self.advice = advice
        self.first: dict[str, float] = {}
        self.passes = 0
        self.moved = False

    def look(self, values: Mapping[str, float]) -> None:
        """See what is to be learnt, by task, as it is in this pass."""
        if self.moved or not values:
            return
        self.moved = any(self.first.setdefault(task, value) != value for task, value in values.items())
        self.passes += 1
        if self.passes == PATIENCE and not self.moved:
            warnings.warn(f"{self.advice}; so far, in {PATIENCE} passes, all weights are fixed", RuntimeWarning, 2)


def _refuse(
    wrong: npt.NDArray[np.bool_],
    losses: Matrix,
    tasks: Sequence[str],
    method: object,
    needs: str,
    error: type[Exception],
) -> None:
    if wrong.any():
        which = ", ".join(f"{task} has {loss:g}" for task, loss, bad in zip(tasks, losses, wrong, strict=True) if bad)
        raise error(f"{type(method).__name__} {needs}: {which}")
