"""CAGrad: the direction near the mean gradient that helps the worst-off task most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import conflict_averse

Rescale = Literal["1+c^2", "1+c"] | None


class CAGrad(Weighting):
    """Weights 1/K (1 + φ^½ / |g_w| w_k), with w the minimum over the simplex of F(w) = g_w·g0 + φ^½ |g_w|.

    g0 is the mean of the task gradients, g_w = 1/K Σ w_k g_k, and φ^½ = c |g0|. The result is the size of a mean, not
    of a sum: with c = 0 it is the mean itself, 1/K of equal weighting; K times the learning rate makes up for it.

    It is solved exactly (``solvers.simplex.conflict_averse``). Where F is not smooth, because a combination w >= 0 of
    the gradients vanishes, the algorithm would divide by zero; then the result is the best direction that is closest
    to g0, which makes no task worse. If that combination is a task with zero gradient, the same holds.

    Parameters of one task alone are fed their plain gradients: the method manipulates shared gradients only.

    Args:
        c: radius of the ball around g0 in which the direction is sought, relative to |g0|; >= 0, and below 1 to stay
            with the minima of the mean loss. The authors used 0.4 on NYUv2; AdaTask gives no value.
        rescale: what the result is divided by: the authors' code divides by 1 + c² or 1 + c, their Algorithm 1 and
            AdaTask's Algorithm 3 by nothing.

    Raises:
        ValueError: c is negative, or the rescaling is unknown.

    Source: Liu et al. 2021, Algorithm 1; AdaTask, Algorithm 3, lines 4-8.
    """

    def __init__(self, c: float = 0.4, rescale: Rescale = None) -> None:
        super().__init__()
        if not c >= 0:
            raise ValueError(f"c is {c}; it must not be negative")
        divisors = {None: 1.0, "1+c^2": 1 + c * c, "1+c": 1 + c}
        if rescale not in divisors:
            raise ValueError(f"rescale is {rescale!r}; give one of {list(divisors)}")
        self.c = c
        self.rescale = rescale
        self._divisor = divisors[rescale]

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The factor on each task's gradient, all >= 1/K before rescaling.

        Raises:
            SolverFailed: see ``conflict_averse``.
        """
        return np.asarray((1 / len(tasks) + conflict_averse(gram, self.c)) / self._divisor)

    def __repr__(self) -> str:
        return f"CAGrad(c={self.c}, rescale={self.rescale!r})"
