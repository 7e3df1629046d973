"""One step's gradients in few lists, as torch's foreach functions like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dominance.optim.engine.task_gradients import TaskGradients

Group = dict[str, Any]
State = dict[str, Any]
_IN_CACHE = 1 << 18
"""Numbers."""


@dataclass(frozen=True)
class Part:
    """Parameters of one group that the same tasks reach in this step, on one device and of one dtype.

    Attributes:
        tasks: K names.
        parameters: n of them.
        rows: K lists of n gradients.
    """

    tasks: tuple[str, ...]
    parameters: list[Tensor]
    rows: list[list[Tensor]]


def parts_of(group: Group, gradients: TaskGradients) -> list[Part]:
    """The group's parameters that tasks reach in this step, in few lists; one by one with ``foreach=False``.

    On the CPU a list is closed when it would hold more than the cache does.
    """
    one_by_one = group.get("foreach") is False
    where = {id(p): i for i, p in enumerate(gradients.parameters)}
    parts: list[Part] = []
    still_open: dict[Any, tuple[Part, int]] = {}
    for parameter in group["params"]:
        i = where.get(id(parameter))
        if i is None:
            continue
        column = [
            (task, row[i]) for task, row in zip(gradients.tasks, gradients.rows, strict=True) if row[i] is not None
        ]
        if not column:
            continue
        tasks = tuple(task for task, _ in column)
        key = (parameter.device, parameter.dtype, tasks)
        part, size = still_open.get(key, (None, 0))
        if part is None or one_by_one or (size + parameter.numel() > _IN_CACHE and parameter.device.type == "cpu"):
            part, size = Part(tasks, [], [[] for _ in tasks]), 0
            parts.append(part)
        still_open[key] = part, size + parameter.numel()
        part.parameters.append(parameter)
        for row, (task, g) in zip(part.rows, column, strict=True):
            assert g is not None
            if g.is_sparse:
                raise TypeError(f"the gradient of {task!r} is sparse; make the embedding with sparse=False")
            row.append(g)
    return parts


def coupled(group: Group) -> float:
    """Weight decay that is added to the gradients."""
    return 0.0 if group.get("decoupled_weight_decay", False) else float(group["weight_decay"])


def fed(part: Part, k: int, theta: list[Tensor], weight_decay: float) -> list[Tensor]:
    """What task k's state is fed: g^k + weight_decay / K * theta; the tasks' sum is what one optimizer is fed."""
    if weight_decay == 0:
        return part.rows[k]
    return list(torch._foreach_add(part.rows[k], theta, alpha=weight_decay / len(part.tasks)))


def buffers(states: Sequence[State], name: str, parameters: Sequence[Tensor], start: float = 0.0) -> list[Tensor]:
    """One tensor of the state for each parameter, made when first asked for."""
    for state, parameter in zip(states, parameters, strict=True):
        if name not in state:
            state[name] = torch.full_like(parameter, start, memory_format=torch.preserve_format)
    return [state[name] for state in states]
