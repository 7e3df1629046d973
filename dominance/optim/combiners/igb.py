"""IGB: improvable gap balancing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.checks import positive
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class IGB(LossWeighting):
    """Logarithms of the losses, weighted by how much of each is still to be had (IGBv1 of Dai, Fei and Lu, 2023).

        L = Σ_k λ_k log L_k,    λ = K softmax(L / B),    so that    w_k = λ_k / L_k

    B_k is the average of the loss over one early epoch: a task whose loss is still near it has the larger gap to its
    end. λ is no function of the parameters: nothing is differentiated through it. Until that epoch is over λ_k is 1,
    as in SI; call ``epoch()`` after each. The rule is that of the authors' program; its second version learns λ by
    reinforcement, and is not here. K counts the tasks of the batch. A task without a loss in that epoch has the
    average of the first epoch in which it has one, and λ_k = 1 until then.

    Args:
        base_epoch: the epoch, counted from 1, whose averages B are; the second in the authors' program.

    Raises:
        ValueError: base_epoch is below 1.

    Raises (``backward``, ``combine``):
        ValueError: a loss is zero or negative.
        FloatingPointError: a loss is not finite.

    >>> igb = IGB(base_epoch=1)
    >>> igb.loss_weights(np.array([4.0, 2.0]), ("a", "b"))
    array([0.25, 0.5 ])
    >>> igb.epoch()
    >>> igb.loss_weights(np.array([4.0, 1.0]), ("a", "b")).round(3)  # λ = 2 softmax(1, 1/2)
    array([0.311, 0.755])
    """

    remembers = ("sums", "counts", "base", "epochs")

    def __init__(self, base_epoch: int = 2) -> None:
        super().__init__()
        if base_epoch < 1:
            raise ValueError(f"base_epoch is {base_epoch}; epochs are counted from 1")
        self.base_epoch = base_epoch
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.base: dict[str, float] = {}
        """B, once it is known."""
        self.epochs = 0
        """How many are over."""

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """λ_k / L_k; until B is known, the losses count towards this epoch's averages."""
        positive(losses, tasks, self, "it takes their logarithm")
        for task, loss in zip(tasks, losses, strict=True):
            if task not in self.base:
                self.sums[task] = self.sums.get(task, 0.0) + float(loss)
                self.counts[task] = self.counts.get(task, 0) + 1
        known = [k for k, task in enumerate(tasks) if task in self.base]
        shares = np.ones(len(tasks))
        if known:
            gaps = losses[known] / [self.base[tasks[k]] for k in known]
            powers = np.exp(gaps - gaps.max())
            shares[known] = len(known) * powers / powers.sum()
        return shares / losses

    def epoch(self) -> None:
        """An epoch is over."""
        self.epochs += 1
        if self.epochs >= self.base_epoch:
            self.base |= {task: self.sums[task] / self.counts[task] for task in self.sums}
        self.sums, self.counts = {}, {}

    def __repr__(self) -> str:
        return f"IGB(base_epoch={self.base_epoch})"
