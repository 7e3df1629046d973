"""Pareto MTL: MGDA kept to one part of the space of losses, that of a preference vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dominance.optim.engine.checks import known, named_by
from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix
from dominance.optim.solvers.simplex import min_norm


class ParetoMTL(Weighting):
    """A Pareto-stationary point whose losses lie closer to one preference vector than to others.

    With unit preference vectors u_j and the chosen one u, the constraints are G_j = (u_j - u)·L <= 0, L the vector of
    losses; those with G_j > 0 are active. Until all were met at some step, the direction is the shortest convex
    combination of the gradients of the active ones (phase 1); from then on, of the task gradients and the gradients of
    the active ones (phase 2). As ∇G_j is a weighting of the task gradients, so are both; they are scaled so that
    Σ |w_k| = K, as in the authors' code. Weights can be negative.

    The whole loss is weighted: parameters of one task alone are fed their gradient times the task's weight.

    Args:
        preference: the chosen vector u, task -> its entry, >= 0; its length does not matter. It is a direction in the
            space of *losses*: a large entry lets that task's loss be large beside the others'. None: all tasks of the
            batch alike.
        among: the others, of the same tasks. None: the preference with its entries moved on in turn, so that
            (0.25, 0.75) stands against (0.75, 0.25), as in AdaTask's Table 8; if all entries are alike, the K
            directions of one loss alone.
        initial_steps: phase 1 ends after so many steps even if the constraints were never all met; None: only then.

    Raises:
        TypeError: a vector is no mapping of names.
        ValueError: a vector has a negative entry, is zero, or is of other tasks than the chosen one; others are given
            without it.

    Source: Lin et al. 2019, "Pareto multi-task learning", Algorithm 1.
    """

    heads = "weighted"
    remembers = ("steps", "feasible")

    def __init__(
        self,
        preference: Mapping[str, float] | None = None,
        among: Sequence[Mapping[str, float]] | None = None,
        initial_steps: int | None = None,
    ) -> None:
        super().__init__()
        if preference is None and among is not None:
            raise ValueError("among what a preference is to be met, it has to be said which one")
        self.preference = preference
        self.among = among
        self.initial_steps = initial_steps
        self._order: tuple[str, ...] = ()
        self._normals = np.empty((0, 0))
        if preference is not None:
            vectors = [preference, *(among or ())]
            for vector in vectors:
                named_by(vector, self)
                if vector.keys() != preference.keys():
                    raise ValueError(f"the preference {dict(vector)} is not of the tasks {', '.join(preference)}")
            self._order = tuple(preference)
            chosen, *others = [[vector[task] for task in self._order] for vector in vectors]
            self._normals = _normals(chosen, None if among is None else others)
        self.steps = 0
        self.feasible = False
        """Whether all constraints have been met at some step: phase 2."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """The weights, with Σ |w_k| = K. Counts a step. Entries of absent tasks are left out.

        Raises:
            ValueError: the preference has no entry for a task.
            SolverFailed: see ``min_norm``.
        """
        normals = self._constraints(tasks)
        active = normals[normals @ losses > 0]
        self.feasible |= not len(active) or (self.initial_steps is not None and self.steps >= self.initial_steps)
        self.steps += 1
        rows = np.concatenate([np.eye(len(tasks)), active]) if self.feasible else active
        found = min_norm(rows @ gram @ rows.T) @ rows
        size = float(np.abs(found).sum())
        return np.asarray(found * (len(tasks) / size)) if size > 0 else found

    def _constraints(self, tasks: Sequence[str]) -> Matrix:
        """The vectors u_j - u, one a row, and one column for each task of the batch."""
        if self.preference is None:
            return _normals([1.0] * len(tasks), None)
        known(self._order, tasks, self)
        return np.asarray(self._normals[:, [self._order.index(task) for task in tasks]])

    def __repr__(self) -> str:
        return f"ParetoMTL(preference={self.preference}, among={self.among}, initial_steps={self.initial_steps})"


def _normals(preference: Sequence[float], among: Sequence[Sequence[float]] | None) -> Matrix:
    """u_j - u for each of the other vectors, shape (number of others, K)."""
    k = len(preference)
    others: Sequence[Sequence[float]]
    if among is not None:
        others = among
    elif len(set(preference)) > 1:
        others = [[*preference[j:], *preference[:j]] for j in range(1, k)]
    else:
        others = np.eye(k).tolist()
    return np.array([_unit(vector, k) for vector in others]).reshape(-1, k) - _unit(preference, k)


def _unit(vector: Sequence[float], k: int) -> Matrix:
    found = np.asarray(vector, dtype=np.float64)
    if found.shape != (k,) or (found < 0).any() or not found.any():
        raise ValueError(f"preference {vector}: give {k} entries >= 0, not all of them 0")
    return np.asarray(found / np.linalg.norm(found))
