"""GradVac: gradient vaccine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from dominance.optim.combiners.pcgrad import others
from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.task_gradients import Matrix

CLOSEST = 1 - 1e-6
"""No target above this cosine: no finite multiple of g_j makes a gradient parallel to it (Eq. 7 divides by 0)."""

CANCELLED = 1e-7
"""A manipulated gradient this short, by the length of its parts, is rounding error and has no direction."""


class GradVac(Combiner):
    """Gradients are turned towards the similarity that they usually have (Wang et al., 2021, Algorithm 1).

        for each task i:  ĝ_i = g_i;  for the other tasks j in random order, with φ = cos(ĝ_i, g_j):
            if φ < γ_ij:   ĝ_i <- ĝ_i + α g_j,
                           α = ‖ĝ_i‖ (γ sqrt(1 - φ²) - φ sqrt(1 - γ²)) / (‖g_j‖ sqrt(1 - γ²))
            γ_ij <- (1 - β) γ_ij + β φ

    (Eq. 6-7 of the MoCoGrad paper, where φ and γ are angles; here they are the cosines.) After the change
    cos(ĝ_i, g_j) = γ_ij. Targets begin at 0, where the method is PCGrad; there is one for each ordered pair of tasks,
    and it moves only when both are in the batch, and neither ĝ_i nor g_j is zero.

    Args:
        beta: β; 0.01.
        seed: of its own generator, which draws the orders.
    """

    remembers = ("targets", "generator")

    def __init__(self, beta: float = 1e-2, *, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is {beta}; it must lie between 0 and 1")
        self.beta = beta
        self.targets: dict[str, dict[str, float]] = {}
        self.generator = torch.Generator().manual_seed(seed)

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Row i holds the coefficients of ĝ_i; ĝ_i · g_j = (C Gram)_ij and ‖ĝ_i‖² = (C Gram Cᵀ)_ii."""
        k = len(tasks)
        norms = np.sqrt(np.diagonal(gram))
        mixing = np.eye(k)
        for i in range(k):
            row, targets = mixing[i], self.targets.setdefault(tasks[i], {})
            for j in others(i, k, self.generator):
                length = math.sqrt(max(row @ gram @ row, 0.0))
                if norms[j] == 0 or length <= CANCELLED * (np.abs(row) @ norms):
                    continue
                cosine = min(max(row @ gram[:, j] / (length * norms[j]), -1.0), 1.0)
                target = targets.get(tasks[j], 0.0)
                if cosine < target:
                    row[j] += _towards(cosine, min(target, CLOSEST)) * length / norms[j]
                targets[tasks[j]] = (1 - self.beta) * target + self.beta * float(cosine)
        return mixing

    def __repr__(self) -> str:
        return f"GradVac(beta={self.beta})"


def _towards(cosine: float, target: float) -> float:
    """The multiple of one unit vector that is to be added to another, at this cosine, to bring it to the target."""
    return (target * math.sqrt(1 - cosine**2) - cosine * math.sqrt(1 - target**2)) / math.sqrt(1 - target**2)
