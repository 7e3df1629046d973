"""STCH: smooth Tchebycheff scalarization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dominance.optim.engine.checks import finite, named_by
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class STCH(LossWeighting):
    """A smooth maximum of the losses, so that the worst is trained most (Lin et al., 2024).

        μ log Σ_k exp(λ_k (L_k - z_k) / μ),    whose weight on ∇L_k is λ_k softmax_k(λ (L - z) / μ)

    Losses of different units are not comparable: what is λ_k L_k is.

    Args:
        mu: μ; the smaller, the closer to the maximum. The paper tries 0.01 to 1.
        preference: λ, task -> its weight; None: 1/K for each task of the batch.
        ideal: z, the best values of the losses, for all tasks or task -> value; 0.

    Raises:
        ValueError: μ or a preference is not positive.

    Raises (``backward``, ``combine``):
        ValueError: a task that has no preference, where others have.
        FloatingPointError: a loss is not finite.

    >>> STCH(mu=1.0).loss_weights(np.array([2.0, 0.0]), ("a", "b")).round(3)  # 1/2 softmax(1, 0)
    array([0.366, 0.134])
    """

    def __init__(
        self,
        mu: float = 1.0,
        *,
        preference: Mapping[str, float] | None = None,
        ideal: float | Mapping[str, float] = 0.0,
    ) -> None:
        super().__init__()
        named_by(preference or (), self)
        named_by(ideal if isinstance(ideal, Mapping) else (), self)
        if not mu > 0:
            raise ValueError(f"mu is {mu}; it must be positive")
        if preference is not None and not all(value > 0 for value in preference.values()):
            raise ValueError(f"preference is {dict(preference)}; all must be positive")
        self.mu = mu
        self.preference = preference
        self.ideal = ideal

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """λ softmax(λ (L - z) / μ)."""
        finite(losses, tasks, self)
        preference = dict.fromkeys(tasks, 1 / len(tasks)) if self.preference is None else self.preference
        missing = [task for task in tasks if task not in preference]
        if missing:
            raise ValueError(f"STCH has no preference for {', '.join(missing)}; it has {dict(preference)}")
        of_task = np.array([preference[task] for task in tasks])
        best = [self.ideal.get(task, 0.0) if isinstance(self.ideal, Mapping) else self.ideal for task in tasks]
        scaled = of_task * (losses - best) / self.mu
        powers = np.exp(scaled - scaled.max())
        return np.asarray(of_task * powers / powers.sum())

    def __repr__(self) -> str:
        return f"STCH(mu={self.mu})"
