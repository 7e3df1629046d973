"""GO4Align: tasks in groups, whose losses are weighted alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.checks import positive
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix, named


class GO4Align(LossWeighting):
    """Weights by the losses' sizes and their past, the same for all tasks of a group (Shen et al., 2024).

        p_k <- p_k exp(-η L_k) / Σ_i p_i exp(-η L_i),    u_k = p_k Σ_i L_i / L_k,    p_k = 1/K at first
        w_k = mean of u over the group of k,    the groups being those of k-means on u

    u is the risk-guided indicator, which makes the losses' scales alike and leans on the tasks that have had the
    smaller ones; grouping shares it among tasks that are alike. The rule is that of the authors' program, where
    k-means starts at random; on a line the best groups are stretches of the sorted numbers, and found exactly here.
    The tasks of a batch move their p among them, and keep the sum that they had; it is then divided by that.

    Args:
        groups: how many groups; 1 gives every task one weight, and as many as there are tasks each its own u. Fewer
            tasks than groups are groups of one each.
        step_size: η, positive; 0.0001.

    Raises:
        ValueError: an argument is out of range.

    Raises (``backward``, ``combine``):
        ValueError: a loss is zero or negative.
        FloatingPointError: a loss is not finite.

    >>> even = GO4Align(groups=2, step_size=1e-9)
    >>> even.loss_weights(np.array([1.0, 1.0, 8.0]), ("a", "b", "c")).round(3)  # u = 10/3, 10/3, 10/24
    array([3.333, 3.333, 0.417])
    """

    remembers = ("logs",)

    def __init__(self, groups: int = 2, step_size: float = 1e-4) -> None:
        super().__init__()
        if groups < 1 or not step_size > 0:
            raise ValueError(f"groups={groups}, step_size={step_size} must be 1 or more, and positive")
        self.groups = groups
        self.step_size = step_size
        self.logs: dict[str, float] = {}
        """Logarithms of p, up to one summand."""

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Move p, and give each task the mean u of its group."""
        positive(losses, tasks, self, "it divides by them")
        before = np.array([self.logs.get(task, 0.0) for task in tasks])
        after = before - self.step_size * losses
        after += np.logaddexp.reduce(before) - np.logaddexp.reduce(after)
        self.logs |= named(tasks, after)
        powers = np.exp(after - after.max())
        return _group_means(losses.sum() / losses * powers / powers.sum(), self.groups)

    def __repr__(self) -> str:
        return f"GO4Align(groups={self.groups}, step_size={self.step_size})"


def _group_means(values: Matrix, groups: int) -> Matrix:
    """Each value replaced by the mean of its group, under the grouping of least squared distances.

    On a line every group of the best is a stretch of the sorted values: the best first j of them in g groups are the
    best first i in g - 1, and a group of the rest.
    """
    count = len(values)
    order = np.argsort(values, kind="stable")
    line = values[order]
    sums, squares = (np.concatenate([[0.0], np.cumsum(line**power)]) for power in (1, 2))

    def spread(i: int, j: int) -> float:
        """Squared distances of values i to j - 1 from their mean."""
        return float(squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / (j - i))

    best = [spread(0, j) if j else 0.0 for j in range(count + 1)]
    begins: list[list[int]] = []
    for g in range(2, min(groups, count) + 1):
        found = [
            min((best[i] + spread(i, j), i) for i in range(g - 1, j)) if j >= g else (np.inf, 0)
            for j in range(count + 1)
        ]
        best, at = [cost for cost, _ in found], [i for _, i in found]
        begins.append(at)
    means, end = np.empty(count), count
    for at in reversed(begins):
        means[order[at[end] : end]] = line[at[end] : end].mean()
        end = at[end]
    means[order[:end]] = line[:end].mean()
    return means
