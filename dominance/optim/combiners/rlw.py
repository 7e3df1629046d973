"""RLW: random loss weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class RLW(LossWeighting):
    """Fresh random weights in each step (Lin et al., 2022, "A litmus test for multi-task learning").

        w = softmax(z),  z_k ~ N(0, 1)    ("normal", its default)
        w ~ Dirichlet(1, ..., 1)          ("dirichlet")

    The weights are positive and sum to 1 over the tasks of the batch.

    Args:
        distribution: where the weights come from.
        seed: of its own generator, on the CPU.

    >>> import torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> RLW(seed=1).backward({"a": w.sum(), "b": w.sum()}, [w])
    >>> w.grad
    tensor([1.])
    """

    remembers = ("generator",)

    def __init__(self, distribution: Literal["normal", "dirichlet"] = "normal", *, seed: int = 0) -> None:
        super().__init__()
        if distribution not in ("normal", "dirichlet"):
            raise ValueError(f'distribution is {distribution!r}; it can be "normal" or "dirichlet"')
        self.distribution = distribution
        self.generator = torch.Generator().manual_seed(seed)

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """One draw; the losses are not looked at."""
        drawn = torch.empty(len(tasks), dtype=torch.float64)
        if self.distribution == "normal":
            weights = drawn.normal_(generator=self.generator).softmax(0)
        else:  # K exponential numbers over their sum are uniform on the simplex
            drawn.exponential_(generator=self.generator)
            weights = drawn / drawn.sum()
        return np.asarray(weights.numpy())

    def __repr__(self) -> str:
        return f"RLW({self.distribution!r})"
