"""PCGrad: projecting conflicting gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.task_gradients import Matrix


class PCGrad(Combiner):
    """Each gradient loses what conflicts with the others (Yu et al., 2020; Eq. 5 of MoCoGrad, Algorithm 4 of AdaTask).

        for each task i:  ĝ_i = g_i;  for the other tasks j in random order:
            if ĝ_i · g_j < 0:   ĝ_i <- ĝ_i - (ĝ_i · g_j / ‖g_j‖²) g_j

    The g_j are the gradients as they were. ĝ = Σ_i ĝ_i.

    Args:
        seed: of its own generator, which draws the orders.
    """

    remembers = ("generator",)

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Row i holds the coefficients of ĝ_i, so that ĝ_i · g_j = (C Gram)_ij."""
        k = len(tasks)
        mixing = np.eye(k)
        for i in range(k):
            row = mixing[i]
            for j in others(i, k, self.generator):
                conflict = row @ gram[:, j]
                if conflict < 0 < gram[j, j]:
                    row[j] -= conflict / gram[j, j]
        return mixing


def others(i: int, k: int, generator: torch.Generator) -> list[int]:
    """The K - 1 tasks that are not i, in random order."""
    return [j for j in torch.randperm(k, generator=generator).tolist() if j != i]
