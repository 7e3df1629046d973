"""Task gradients that an optimizer has taken and not yet stepped from: added up, scaled, changed with ``.grad``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dominance.optim.engine.task_gradients import TaskGradients


def added(one: TaskGradients, other: TaskGradients) -> TaskGradients:
    """The sum; a parameter may be new in one of them: unfrozen, or of a group that was added."""
    every = {id(p): p for p in (*one.parameters, *other.parameters)}
    if not len(every) == len(one.parameters) == len(other.parameters):
        one, other = _over(tuple(every.values()), one), _over(tuple(every.values()), other)
    return one.add(other)


def _over(parameters: tuple[Tensor, ...], gradients: TaskGradients) -> TaskGradients:
    """The same gradients, of more parameters."""
    where = {id(p): i for i, p in enumerate(gradients.parameters)}
    at = [where.get(id(p)) for p in parameters]
    rows = [[None if i is None else row[i] for i in at] for row in gradients.rows]
    shared = tuple([i is not None and gradients.shared[i] for i in at])
    return replace(gradients, parameters=parameters, rows=rows, shared=shared)


def scaled(gradients: TaskGradients, factor: float | Tensor) -> TaskGradients:
    """All rows times the factor; new tensors, since one tensor may stand in several rows."""
    scale = torch.as_tensor(factor)
    rows = [[None if g is None else g * scale.to(g.device, g.dtype) for g in row] for row in gradients.rows]
    return replace(gradients, rows=rows)


def rescaled(held: TaskGradients, left: Mapping[Tensor, Tensor | None]) -> TaskGradients | None:
    """The tasks' gradients with what the script has done to ``.grad`` since: a factor, as of clipping by norm, or one
    of each entry that is between 0 and 1, as of clipping by value and of masks. None: it was something else.

    Args:
        left: what lay in ``.grad``.
    """
    factors: list[Tensor | float | None] = []
    for p in held.parameters:
        before, now = left.get(p), p.grad
        if now is None:
            factors.append(None)  # a gradient that is gone steps nothing
            continue
        if before is None:
            if bool(now.any()):
                return None
            factors.append(1.0)
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
