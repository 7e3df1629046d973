"""DWA: dynamic weight average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.checks import finite
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class DWA(LossWeighting):
    """Weights by how slowly each loss has been falling (Liu, Johns and Davison, 2019, Eq. 7).

        λ_k(t) = K exp(w_k(t-1) / T) / Σ_i exp(w_i(t-1) / T),    w_k(t-1) = L_k(t-1) / L_k(t-2)

    L_k(t) is the average of the loss over epoch t: call ``epoch()`` after each. As in the paper, w_k is 1 until a task
    has seen two epochs. K counts the tasks of the batch, whose weights sum to K. The averages of a task without a loss
    in an epoch stay as they were.

    Args:
        temperature: T; 2 in the paper.

    Raises (``epoch``):
        ValueError: the average of a loss is zero or negative; the ratio says nothing then.

    >>> dwa = DWA()
    >>> for losses in ([4.0, 4.0], [4.0, 2.0]):
    ...     _ = dwa.loss_weights(np.array(losses), ("a", "b"))
    ...     dwa.epoch()
    >>> dwa.loss_weights(np.array([4.0, 1.0]), ("a", "b")).round(3)
    array([1.124, 0.876])
    """

    remembers = ("sums", "counts", "averages")

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; it must be positive")
        self.temperature = temperature
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.averages: dict[str, list[float]] = {}

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """K softmax(w / T); the losses count towards this epoch's averages."""
        finite(losses, tasks, self)
        for task, loss in zip(tasks, losses, strict=True):
            self.sums[task] = self.sums.get(task, 0.0) + float(loss)
            self.counts[task] = self.counts.get(task, 0) + 1
        rates = np.array([self._rate(task) for task in tasks]) / self.temperature
        powers = np.exp(rates - rates.max())
        return np.asarray(len(tasks) * powers / powers.sum())

    def epoch(self) -> None:
        """Close the averages of this epoch."""
        means = {task: self.sums[task] / self.counts[task] for task in self.sums}
        wrong = {task: mean for task, mean in means.items() if not mean > 0}
        if wrong:
            which = ", ".join(f"{task} has {mean:g}" for task, mean in wrong.items())
            raise ValueError(f"DWA compares the averages of a loss by their ratio, so they must be positive: {which}")
        for task, mean in means.items():
            self.averages[task] = [*self.averages.get(task, []), mean][-2:]
        self.sums, self.counts = {}, {}

    def _rate(self, task: str) -> float:
        averages = self.averages.get(task, [])
        return averages[1] / averages[0] if len(averages) == 2 else 1.0

    def __repr__(self) -> str:
        return f"DWA(temperature={self.temperature})"
