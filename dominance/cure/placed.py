"""The tasks of a backward() as a method takes them: losses times the script's weights, at their places in the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from dominance.cure.refused import Refused
from dominance.optim.engine.task_gradients import Placed, Start
from dominance.record.tasks.found import FoundTask
from dominance.record.tasks.weights import Root


class FixedScaler:
    """The factor that a GradScaler has put on the losses, in the place of the GradScaler."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def scale(self, outputs: Any) -> Any:
        """The tensor, times the scale."""
        return outputs * self._scale

    def get_scale(self) -> float:
        """The scale."""
        return self._scale

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return True


def placed(tasks: Sequence[FoundTask], roots: Sequence[Root], scale: float, *, values: bool) -> dict[str, Placed]:
    """Each task's loss times its weight in the sum, without the scale of a GradScaler.

    Args:
        values: whether the losses' values are needed.

    Raises:
        Refused: they are, and one cannot be known.
    """
    like = roots[0].tensor if roots[0].tensor is not None else roots[0].gradient
    known = all(root.tensor is None or bool(root.tensor.detach().isfinite().all()) for root in roots)
    found: dict[str, Placed] = {}
    for task in tasks:
        value = task.loss * task.weight / scale
        if math.isnan(value) and known:
            if values:
                raise Refused(f"the value of {task.name} cannot be known; keep it in a variable until backward()")
            value = 1.0
        outputs = [GradientEdge(*edge) for edge in task.edges]
        gradients = [gradient / scale if scale != 1 else gradient for gradient in task.gradients]
        before = found.get(task.name)
        if before is not None:  # several terms of one name are one task
            outputs = [*before.start.outputs, *outputs]
            gradients = [*(before.start.gradients or ()), *gradients]
            value += float(before.value)
        number = torch.tensor(value, dtype=like.dtype, device=like.device)
        found[task.name] = Placed(number, Start(outputs, gradients))
    return found


def starts(tasks: Sequence[FoundTask]) -> tuple[list[Any], list[Tensor]]:
    """Where the gradients of terms enter the graph, and what enters there."""
    edges = [GradientEdge(*edge) for task in tasks for edge in task.edges]
    return edges, [gradient for task in tasks for gradient in task.gradients]
