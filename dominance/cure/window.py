"""What comes between two steps of an optimizer: one backward() of the script, or several whose gradients add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dominance.optim.engine.rows import TaskGradients


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


def rescaled(window: Window) -> TaskGradients | None:
    """The tasks' gradients of a window with what the script has done to ``.grad`` since: a factor, as of clipping by
    norm, or one of each entry that is between 0 and 1, as of clipping by value and of masks. None: it was something
    else, or nothing is held.
    """
    held = window.held
    if held is None:
        return None
    factors: list[Tensor | float | None] = []
    for p in held.parameters:
        before, now = window.copies.get(id(p)), p.grad
        if before is None or now is None:
            factors.append(1.0 if now is not None else None)  # a gradient that is gone steps nothing
            continue
        made = _factor(before, now)
        if made is None:
            return None
        factors.append(made)
    if all(isinstance(factor, float) and factor == 1 for factor in factors):
        return held
    rows = [[_times(g, factor) for g, factor in zip(row, factors, strict=True)] for row in held.rows]
    return TaskGradients(held.tasks, held.parameters, rows, held.losses, held.shared)


def _times(gradient: Tensor | None, factor: Tensor | float | None) -> Tensor | None:
    if gradient is None or factor is None:
        return None
    return gradient if isinstance(factor, float) and factor == 1 else gradient * factor


def _factor(before: Tensor, now: Tensor) -> Tensor | float | None:
    """What the one was multiplied by to become the other; exactly, where one factor of float32 explains every bit."""
    if torch.equal(before, now):
        return 1.0
    at = int(before.abs().argmax())
    largest = before.flatten()[at]
    if largest == 0:
        return None
    guess = now.flatten()[at] / largest
    near = [guess, torch.nextafter(guess, guess.new_tensor(torch.inf)), torch.nextafter(guess, guess.new_tensor(0.0))]
    for factor in near:
        if torch.equal(before * factor, now):
            return factor
    if torch.allclose(before * guess, now, rtol=1e-5, atol=float(largest.abs()) * 1e-6):
        return guess
    share = torch.where(before == 0, torch.ones_like(now), now / before)
    grown = bool(((before == 0) & (now != 0)).any())
    return None if grown or bool((share < 0).any()) or bool((share > 1 + 1e-6).any()) else share
