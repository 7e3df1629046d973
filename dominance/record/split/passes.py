"""A backward pass of the script: what it was called on, and each task's part of the gradients that it makes."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from dominance.record.split.sampled import TaskProducts
from dominance.record.tasks.finder import Found, FoundTask


class GradientOf(NamedTuple):
    """Whose gradient: a task, and the loss that backward() was called on."""

    root: str
    task: str
    beside: bool = False
    """No task's: a regulariser's, or of a term that shares no parameter."""


@dataclass(frozen=True)
class Pass:
    """One call of backward(), or of autograd.grad by the parameters."""

    root: str
    """Name of the loss that it was called on."""
    total: float
    """Value of that loss; NaN where it is not known."""
    gradients: dict[str, dict[Tensor, Tensor]]
    """Effective gradient of each task, by parameter that it reaches."""
    weight: dict[str, float]
    """Weight of each task in the loss; NaN where there is no single one."""
    loss: dict[str, float]
    """Each task's own loss, unweighted."""
    expanded: bool = False
    """Whether the loss is one named sum that was taken apart."""
    beside: dict[str, dict[Tensor, Tensor]] = field(default_factory=dict)
    """The same of terms that are no tasks: regularisers, and losses that share no parameter."""
    losses: dict[str, str] = field(default_factory=dict)
    """Of a pass that starts below the losses: the loss that each task's gradient was taken of."""
    totals: dict[str, float] = field(default_factory=dict)
    """The values of those losses."""
    nameless_sum: bool = False
    """Whether it is of a sum of several losses that have no names."""
    products: dict[Tensor, TaskProducts] = field(default_factory=dict)
    """Of parameters that are recorded at the kept coordinates alone, what is known of the tasks' gradients there."""
    closed: Container[Tensor] = ()
    """Parameters of which one task's gradient is what the others leave of what the pass has put into ``.grad``."""

    def part(self, task: str) -> GradientOf:
        """What the books call a task of this pass."""
        return GradientOf(self.losses.get(task, self.root), task)

    @property
    def called(self) -> dict[str, float]:
        """The losses that it goes back to, and their values."""
        return self.totals or {self.root: self.total}

    def parts(self, parameter: Tensor) -> dict[GradientOf, Tensor]:
        """The gradients of one parameter."""
        return {part: gradients[parameter] for part, gradients in self._by_part if parameter in gradients}

    @cached_property
    def _by_part(self) -> list[tuple[GradientOf, dict[Tensor, Tensor]]]:
        return [
            (self.part(name)._replace(beside=no_task), gradients)
            for no_task, each in ((False, self.gradients), (True, self.beside))
            for name, gradients in each.items()
        ]

    @property
    def parameters(self) -> list[Tensor]:
        """All that it reaches."""
        return list(dict.fromkeys(p for g in (*self.gradients.values(), *self.beside.values()) for p in g))


def pass_of(
    found: Found,
    gradients: Mapping[str, dict[Tensor, Tensor]],
    beside: Mapping[str, dict[Tensor, Tensor]] | None = None,
    products: Mapping[Tensor, TaskProducts] | None = None,
    closed: Container[Tensor] = (),
) -> Pass:
    """The pass that was found to be made of these tasks, with the gradients that were taken of them and beside them."""
    tasks: dict[str, FoundTask] = {task.name: task for task in found.tasks}
    return Pass(
        found.root_name,
        found.total,
        {name: gradients.get(name, {}) for name in tasks},
        {name: task.weight for name, task in tasks.items()},
        {name: task.loss for name, task in tasks.items()},
        found.expanded,
        dict(beside or {}),
        found.losses,
        found.totals,
        found.nameless_sum,
        dict(products or {}),
        closed,
    )
