"""Random task gradients for a few parameters, some of which some tasks do not reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dominance.optim import TaskGradients
from dominance.optim.engine.task_gradients import Row

SHAPES: dict[str, tuple[int, ...]] = {
    "trunk.0.weight": (4, 3),
    "trunk.0.bias": (4,),
    "trunk.1.weight": (2, 4),
    "head.weight": (2,),
}
ONLY: dict[str, tuple[str, ...]] = {"head.weight": ("a",), "trunk.0.bias": ("a", "b")}
"""Parameters that only these tasks reach."""
SCALES = {"a": 1.0, "b": 100.0, "c": 1e-2}


class Stream:
    """Named parameters, and gradients of one step after the other, the same for the same seed."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.named = {name: self._draw(shape, dtype).requires_grad_() for name, shape in SHAPES.items()}

    def _draw(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.randn(tuple(shape), generator=self.generator, dtype=torch.float64).to(dtype)

    def rows(
        self,
        tasks: Sequence[str] = ("a", "b", "c"),
        factors: Mapping[str, float] | None = None,
        common: float = 0.0,
        everywhere: bool = False,
    ) -> TaskGradients:
        """Gradients of these tasks; those of the others are drawn as well, and thrown away.

        Args:
            factors: on the gradients of tasks.
            common: how much all tasks' gradients have in common.
            everywhere: every task reaches every parameter.
        """
        drawn = {task: {} for task in SCALES}  # type: dict[str, dict[str, Tensor]]
        for name, parameter in self.named.items():
            base = self._draw(parameter.shape, parameter.dtype)
            for task, scale in SCALES.items():
                g = (self._draw(parameter.shape, parameter.dtype) + common * base) * scale
                drawn[task][name] = g * (factors or {}).get(task, 1.0)
        rows: list[Row] = []
        for task in tasks:
            reached = [everywhere or task in ONLY.get(name, SCALES) for name in self.named]
            rows.append([g if there else None for g, there in zip(drawn[task].values(), reached, strict=True)])
        shared = tuple(everywhere or len(ONLY.get(name, SCALES)) > 1 for name in self.named)
        losses = tuple(torch.tensor(1.0) for _ in tasks)
        return TaskGradients(tuple(tasks), tuple(self.named.values()), rows, losses, shared)

    def values(self) -> np.ndarray[Any, Any]:
        """All parameters, one after the other."""
        return np.concatenate([p.detach().double().numpy().ravel() for p in self.named.values()])


def as_arrays(gradients: TaskGradients) -> dict[str, list[np.ndarray[Any, Any] | None]]:
    """task -> one array for each parameter."""
    return {
        task: [None if g is None else g.double().numpy() for g in row]
        for task, row in zip(gradients.tasks, gradients.rows, strict=True)
    }


PRESENT: tuple[tuple[str, ...], ...] = (("a", "b", "c"), ("c", "a"), ("b",), ("b", "c", "a"))
"""Which tasks are in the batch, step by step."""
