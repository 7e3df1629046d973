"""UPGrad: every gradient is projected to where no task is hurt, and the projections are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.combiner import Combiner
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import onto_dual_cone


class UPGrad(Combiner):
    """The mean of the gradients' projections onto the dual cone of all of them (Quinton and Rey, 2024).

        ĝ_k = 1/K π(g_k),    π(x) = the closest d to x with g_i · d >= 0 for all i

    No step of it goes against a task, and a task whose gradient grows has more of a say. The result is the size of a
    mean, not of a sum: K times the learning rate makes up for it. Each projection is found exactly
    (``solvers.simplex.onto_dual_cone``). Parameters of one task alone are fed their plain gradients.
    """

    def mixing(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Row k holds the coefficients of ĝ_k, all >= 0.

        Raises:
            SolverFailed: see ``onto_dual_cone``.
        """
        return np.stack([onto_dual_cone(gram, of_one) for of_one in np.eye(len(tasks))]) / len(tasks)
