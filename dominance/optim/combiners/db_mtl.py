"""DB-MTL: logarithms of the losses, and gradients brought to one length."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dominance.optim.engine.checks import positive
from dominance.optim.engine.combiner import Mixture, Rows
from dominance.optim.engine.histories import History, WithHistories, split
from dominance.optim.engine.task_gradients import Row, TaskGradients, gram_matrix, weighted_sum

EPS = 1e-8


class DBMTL(WithHistories):
    """Losses balanced by their logarithm, and gradients by their length (Lin et al., 2023, "Dual-Balancing", Alg. 1).

        m_k <- β_t m_k + (1 - β_t) ∇ log(L_k + ε),    β_t = β / t^p,    m_k = 0 at first
        ĝ_k = max_i |m_i| / (|m_k| + ε) · m_k,    ε = 1e-8

    over the shared parameters; those of one task alone are fed ∇ log(L_k + ε). A task that reaches no shared parameter
    is left as it is. Momenta are kept for each task and shared parameter, as ``WithHistories`` says; t counts steps,
    whoever is there.

    Args:
        beta: β, from 0 to below 1; 0.9.
        decay_power: p, not negative; 0 is a constant β.

    Raises:
        ValueError: beta or decay_power is out of range.

    Raises (``backward``, ``combine``):
        ValueError: a loss is not positive.
        FloatingPointError: a loss or a gradient is not finite.
    """

    at_representation = False
    remembers = ("momenta", "steps")

    def __init__(self, beta: float = 0.9, *, decay_power: float = 0.0) -> None:
        super().__init__()
        if not 0 <= beta < 1 or not decay_power >= 0:
            raise ValueError(f"beta={beta}, decay_power={decay_power} must be in [0, 1), [0, oo)")
        self.beta = beta
        self.decay_power = decay_power
        self.momenta: History = {}
        self.steps = 0

    def mix(self, gradients: TaskGradients) -> Mixture:
        """Move the momenta, and make them equally long."""
        rows, reaching = split(gradients)
        losses = gradients.loss_values()
        tasks = gradients.tasks
        positive(losses[reaching], [tasks[k] for k in reaching], self, "it takes their logarithm")
        keys = self._positions(gradients.parameters)
        slopes = np.ones(len(tasks))
        slopes[reaching] = 1 / (losses[reaching] + EPS)
        beta = self.beta / (self.steps + 1) ** self.decay_power
        moved: list[Row] = []
        for k in reaching:
            past = self._past(self.momenta, tasks[k], rows[k], keys)
            factors = (beta, (1 - beta) * slopes[k])
            moved.append([weighted_sum(pair, factors) for pair in zip(past, rows[k], strict=True)])
        norms = np.sqrt(np.diagonal(gram_matrix(moved))) if moved else np.zeros(0)
        self.need_finite(norms, [tasks[k] for k in reaching])
        self.steps += 1
        found: list[Row] = [
            [weighted_sum((None if s else g,), (slope,)) for g, s in zip(row, gradients.shared, strict=True)]
            for row, slope in zip(gradients.rows, slopes, strict=True)
        ]
        for k, row, norm in zip(reaching, moved, norms, strict=True):
            kept = self.momenta.setdefault(tasks[k], {})
            for i, (key, momentum) in enumerate(zip(keys, row, strict=True)):
                if momentum is not None:
                    kept[key] = momentum
                    found[k][i] = momentum * float(norms.max() / (norm + EPS))
        return Rows(replace(gradients, rows=found))

    def __repr__(self) -> str:
        return f"DBMTL(beta={self.beta}, decay_power={self.decay_power})"
