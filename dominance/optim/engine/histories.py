"""Combiners that remember a tensor for each task and shared parameter."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.task_gradients import Loss, Matrix, Row, TaskGradients

History = dict[str, dict[int, Tensor]]
"""Task -> position of the parameter among all that were given -> what is remembered."""


class WithHistories(Combiner):
    """What is remembered of a frozen parameter stays as it is, that of a new one begins at zero.

    ``state_dict`` goes by the order in which parameters were first given: give all of the model's, with the frozen
    ones. A task that is absent keeps its history.

    Raises (``backward``, ``combine``):
        ValueError: a history has not the shape of its parameter, as after loading the state of another model.
    """

    def __init__(self) -> None:
        super().__init__()
        self._given: list[weakref.ref[Tensor]] = []

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As ``Combiner.load_state_dict``; histories go to the parameters of the next step, by their order."""
        super().load_state_dict(state)
        self._given = []

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_given": []}

    def _direct(
        self, losses: Mapping[str, Loss], given: Sequence[Tensor], scale: float | None, *, retain_graph: bool
    ) -> tuple[Sequence[Tensor], Row, Callable[[], None]] | None:
        self._positions(given)  # the frozen ones have theirs, too
        return super()._direct(losses, given, scale, retain_graph=retain_graph)

    def _positions(self, parameters: Sequence[Tensor]) -> list[int]:
        """The position of each parameter among all that were given by now."""
        known = {id(p): i for i, ref in enumerate(self._given) if (p := ref()) is not None}
        for p in parameters:
            if id(p) not in known:
                known[id(p)] = len(self._given)
                self._given.append(weakref.ref(p))
        return [known[id(p)] for p in parameters]

    def need_finite(self, norms: Matrix, tasks: Sequence[str]) -> None:
        """Raise FloatingPointError for a gradient that would spoil what is remembered."""
        broken = [task for task, norm in zip(tasks, norms, strict=True) if not np.isfinite(norm)]
        if broken:
            raise FloatingPointError(f"the gradient of {', '.join(broken)} is not finite; {type(self).__name__} stops")

    def _past(self, history: History, task: str, row: Row, keys: Sequence[int]) -> Row:
        """What is remembered of a task, None for zero, if it fits the gradient."""
        past = [history.get(task, {}).get(key) for key in keys]
        if any(m is not None and g is not None and m.shape != g.shape for m, g in zip(past, row, strict=True)):
            raise ValueError(
                f"what {type(self).__name__} remembers of {task} is of other parameters, or of another representation"
            )
        return past


def split(gradients: TaskGradients) -> tuple[list[Row], list[int]]:
    """The rows of the shared parameters, None elsewhere; and which tasks reach one."""
    rows = [[g if s else None for g, s in zip(row, gradients.shared, strict=True)] for row in gradients.rows]
    return rows, [k for k, row in enumerate(rows) if any(g is not None for g in row)]
