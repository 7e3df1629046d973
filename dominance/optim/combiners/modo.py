"""MoDo: weights of the tasks that go towards the shortest combination, by gradients of two batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.checks import finite
from dominance.optim.engine.combiner import MatrixMixture, Mixture
from dominance.optim.engine.histories import History, WithHistories, split
from dominance.optim.engine.task_gradients import Matrix, Row, TaskGradients, gram_matrix, named


class MoDo(WithHistories):
    """A step a batch of projected gradient descent on MGDA's problem, by double sampling (Chen et al., 2024, Eq. 2.9).

        λ <- Π(λ - γ (G Hᵀ λ + ρ λ)),    g = Σ_k λ_k g_k,    λ_k = 1/K at first

    Π is the projection on the simplex; G and H hold the tasks' gradients on two batches, so that the noise of neither
    is taken for length, as it is in G Gᵀ. Here G is of the batch at hand and H of the one before, at the parameters of
    one step ago: a training gives one batch a step. λ stays as it is until every task of the batch has an H. Like
    MGDA's, the result is the size of a mean, not of a sum. Parameters of one task alone are fed their plain gradients;
    a task that reaches no shared parameter is left as it is. The tasks of a batch move their λ among them, and keep
    the sum that they had. H is kept for each task and shared parameter, as ``WithHistories`` says.

    Args:
        gamma: γ, positive; 0.001. What is small depends on the squared length of the gradients.
        rho: ρ, not negative: draws λ to equal weights; 0.1.
        double: False takes G for H, which needs no memory, and counts noise.

    Raises:
        ValueError: gamma or rho is out of range.

    Raises (``backward``, ``combine``):
        FloatingPointError: a loss or a gradient is not finite.
    """

    at_representation = False
    remembers = ("shares", "last")

    def __init__(self, gamma: float = 1e-3, rho: float = 0.1, *, double: bool = True) -> None:
        super().__init__()
        if not gamma > 0 or not rho >= 0:
            raise ValueError(f"gamma={gamma}, rho={rho} must be positive, and not negative")
        self.gamma = gamma
        self.rho = rho
        self.double = double
        self.shares: dict[str, float] = {}
        """λ, up to one factor."""
        self.last: History = {}
        """H."""

    def mix(self, gradients: TaskGradients) -> Mixture:
        """Move λ, and weigh the gradients."""
        rows, reaching = split(gradients)
        losses, tasks = gradients.loss_values(), gradients.tasks
        finite(losses, tasks, self)
        weights = np.ones(len(tasks))
        if reaching:
            among = [tasks[k] for k in reaching]
            weights[reaching] = self._moved(among, [rows[k] for k in reaching], self._positions(gradients.parameters))
        return MatrixMixture(gradients, np.diag(weights), np.ones(len(tasks)))

    def _moved(self, tasks: Sequence[str], now: Sequence[Row], keys: Sequence[int]) -> Matrix:
        """λ of these tasks, with sum 1, after a step."""
        before = [self._past(self.last, task, row, keys) for task, row in zip(tasks, now, strict=True)]
        k = len(tasks)
        gram = gram_matrix([*now, *before] if self.double else now)
        self.need_finite(np.diagonal(gram)[:k], tasks)
        known = not self.double or all(task in self.last for task in tasks)
        held = np.array([self.shares.get(task, 1.0) for task in tasks])
        total = float(held.sum())
        lam = held / total if total > 0 else np.full(k, 1 / k)
        if known:
            lam = onto_simplex(lam - self.gamma * (gram[:k, -k:] @ lam + self.rho * lam))
        self.shares |= named(tasks, lam * total)
        if self.double:
            for task, row in zip(tasks, now, strict=True):
                kept = self.last.setdefault(task, {})
                kept |= {key: g.detach().clone() for key, g in zip(keys, row, strict=True) if g is not None}
        return lam

    def __repr__(self) -> str:
        return f"MoDo(gamma={self.gamma}, rho={self.rho}{'' if self.double else ', double=False'})"


def onto_simplex(point: Matrix) -> Matrix:
    """The nearest weights >= 0 with sum 1 (Held, Wolfe and Crowder, 1974).

    >>> onto_simplex(np.array([0.9, 0.5, -3.0]))
    array([0.7, 0.3, 0. ])
    """
    down = np.sort(point)[::-1]
    excess = (np.cumsum(down) - 1) / np.arange(1, len(down) + 1)
    return np.asarray(np.maximum(point - excess[np.flatnonzero(down > excess)[-1]], 0.0))
