"""Task gradients that an optimizer has taken and not yet stepped from: added up, and scaled."""

from __future__ import annotations

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
