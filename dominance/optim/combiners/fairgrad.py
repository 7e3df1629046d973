"""FairGrad: the tasks' progress is shared out by alpha-fairness."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.bargaining import bargain
from dominance.optim.solvers.fairness import solve_fair


class FairGrad(Weighting):
    """Weights w > 0 with G Gᵀ w = w^(-1/α): the direction of the greatest α-fair utility (Ban and Ji, 2024, Eq. 4).

    The utility of a task is g_k · d. α = 1 is proportional fairness, the equation of Nash-MTL; the larger α, the more
    the task that gains least counts. Solved by Newton's method (``solvers.fairness``). Parameters of one task alone are
    fed their plain gradients.

    A task with zero gradient takes no part and keeps its weight. Where the equation has no solution, as where a
    combination of the gradients with weights >= 0 vanishes, all weights stay what they were (1 at first); ``failures``
    counts these steps, and the first one warns.

    Args:
        alpha: α, positive; 2.

    Raises:
        ValueError: α is not positive.
    """

    remembers = ("last", "failures")

    def __init__(self, alpha: float = 2.0) -> None:
        super().__init__()
        if not alpha > 0:
            raise ValueError(f"alpha is {alpha}; it must be positive")
        self.alpha = alpha
        self.last: dict[str, float] = {}
        """The weights, by task."""
        self.failures = 0
        """Steps at which the equation had no solution."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """w, positive."""
        before = np.array([self.last.get(task, 1.0) for task in tasks])
        found, failure = bargain(gram, before, lambda matrix: solve_fair(matrix, self.alpha))
        if failure:
            self.failures += 1
        if failure and self.failures == 1:
            warnings.warn(
                f"FairGrad: {failure}; the weights of the step before are kept. Further steps like this are counted "
                "in .failures",
                RuntimeWarning,
                stacklevel=2,
            )
        self.last.update(zip(tasks, found.tolist(), strict=True))
        return found

    def __repr__(self) -> str:
        return f"FairGrad(alpha={self.alpha})"
