"""IMTL: impartial multi-task learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dominance.optim.combiners.imtl_g import IMTLG
from dominance.optim.engine.checks import Still, known, named_by, not_negative
from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix


class IMTL(Weighting):
    """IMTL-G on the shared parameters, of losses that IMTL-L has scaled (Liu et al., 2021, Algorithm 1).

        L_k <- exp(s_k) L_k - s_k,    s_k learnt: its gradient is exp(s_k) L_k - 1
        shared parameters:            Σ_k α_k exp(s_k) g_k,    with equal projections onto all of the scaled gradients
        task-specific parameters:     exp(s_k) times their gradient

    Give ``parameters()`` to the optimizer, beside the model's. Each task has a parameter of its own, so that an
    optimizer leaves the absent ones alone. As in the paper, ``representation`` may be used: Algorithm 1 balances the
    gradients there.

    Args:
        tasks: the names.

    Raises:
        TypeError: a name is no string.

    Raises (``backward``, ``combine``):
        ValueError: a task that it was not made for, or a negative loss: s_k would grow without end.
        FloatingPointError: a loss or a gradient is not finite.
    """

    heads = "weighted"
    remembers = ("log_scales",)
    of_all = True

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        named_by(tasks, self)
        self._still = Still("no optimizer moves IMTL's parameters(): give them to one, beside the model's")
        self.log_scales = {task: nn.Parameter(torch.zeros(())) for task in tasks}
        self.projections = IMTLG()

    def parameters(self) -> Iterator[Tensor]:
        """s_k of each task, 0-dim."""
        return iter(self.log_scales.values())

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """α_k exp(s_k); adds to the gradient of s_k."""
        known(tuple(self.log_scales), tasks, self)
        not_negative(losses, tasks, self, "or the scale grows without end")
        self._still.look({task: s.item() for task in tasks if (s := self.log_scales[task]).requires_grad})
        scales = self._scales(tasks)
        alpha = self.projections.weights(scales[:, None] * gram * scales, scales * losses, tasks)
        for task, slope in zip(tasks, scales * losses - 1, strict=True):
            s = self.log_scales[task]
            if not s.requires_grad:
                continue
            slope = torch.full_like(s, float(slope))
            s.grad = slope if s.grad is None else s.grad + slope
        return alpha * scales

    def head_weights(self, matrix: Matrix, tasks: Sequence[str]) -> Matrix:
        """exp(s_k)."""
        return self._scales(tasks)

    def _scales(self, tasks: Sequence[str]) -> Matrix:
        return np.array([np.exp(self.log_scales[task].item()) for task in tasks])

    def __repr__(self) -> str:
        return f"IMTL({list(self.log_scales)})"
