"""What comes between two steps of an optimizer: one backward() of the script, or several whose gradients add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dominance.optim.engine.task_gradients import TaskGradients


@dataclass
class Window:
    """The passes since the last step.

    Attributes:
        before: what the method remembered when it began.
        passes: how many there were.
        tasks: those that were in one of them.
        held: the tasks' gradients, added up; None where they are not kept.
        told: what listeners were told of, added up.
        base: what was in ``.grad`` before, by parameter.
        written: the parameters, what a method left in their ``.grad``, and its version.
        copies: its numbers then, by the id of the parameter, where a step is made from ``held``.
        scale: of a GradScaler; None: there is none at work.
        stepped: whether an optimizer has stepped: the next pass begins another window.
    """

    before: dict[str, Any]
    passes: int = 0
    tasks: dict[str, None] = field(default_factory=dict)
    held: TaskGradients | None = None
    told: TaskGradients | None = None
    base: dict[Tensor, Tensor | None] = field(default_factory=dict)
    written: list[tuple[Tensor, Tensor | None, int]] = field(default_factory=list)
    copies: Mapping[int, Tensor] = field(default_factory=dict)
    scale: float | None = None
    stepped: bool = False

    @property
    def parameters(self) -> list[Tensor]:
        """Those that got a gradient."""
        return [p for p, _, _ in self.written]

    def remember(self, parameters: Iterable[Tensor]) -> None:
        """What is in ``.grad`` of these that no pass of the window has written."""
        for p in parameters:
            if p not in self.base:
                self.base[p] = None if p.grad is None else p.grad.clone()

    def put_back(self) -> None:
        """``.grad`` as it was before the window."""
        for p, grad in self.base.items():
            p.grad = None if grad is None else grad.clone()

    def wrote(self, parameters: Iterable[Tensor], copies: Mapping[int, Tensor] | None = None) -> None:
        """This is what lies in ``.grad`` now.

        Args:
            copies: the same numbers, by the id of the parameter, where a step will be made from ``held``.
        """
        every = {id(p): p for p in (*self.parameters, *parameters)} if self.written else {id(p): p for p in parameters}
        grads = [(p, p.grad) for p in every.values()]
        self.written = [(p, grad, 0 if grad is None else grad._version) for p, grad in grads]
        if copies is not None:
            self.copies = copies

    def copied(self, parameters: Iterable[Tensor]) -> dict[int, Tensor]:
        """Copies of ``.grad`` of all that were written, and of these."""
        every = {id(p): p.grad for p in (*self.parameters, *parameters)}
        return {key: grad.clone() for key, grad in every.items() if grad is not None}

    def untouched(self) -> bool:
        """Whether ``.grad`` is as it was left."""
        return all(p.grad is grad and (grad is None or grad._version == seen) for p, grad, seen in self.written)
