"""ExcessMTL: the tasks that are farthest from their optimum weigh more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dominance.optim.engine.checks import finite
from dominance.optim.engine.combiner import MatrixMixture, Mixture
from dominance.optim.engine.histories import History, WithHistories, split
from dominance.optim.engine.task_gradients import Row, TaskGradients, named

EPS = 1e-7


class ExcessMTL(WithHistories):
    """Weights by an estimate of each task's excess risk, robust to noisy labels (He et al., 2024, Eq. 6, 7 and 9).

        S_k <- S_k + g_k²,    E_k = Σ g_k² / sqrt(S_k + ε)        entry by entry, over the shared parameters, ε = 1e-7
        w_k <- w_k exp(η E_k / E_k(0)) / Σ_i w_i exp(η E_i / E_i(0)),    w_k = 1/K at first

    A loss that noise keeps high says nothing of what can be learnt; its distance from the best that can be had does.
    E_k(0), which makes tasks comparable, is the average over a task's first steps, in which w stays as it is; the paper
    takes three epochs. The whole loss is weighted, so parameters of one task alone are fed their gradient times w_k. A
    task that reaches no shared parameter is left as it is, with weight 1. The weights of the tasks of a batch move
    among them, and keep the sum that they had; they are then divided by it. S is kept for each task and shared
    parameter, as ``WithHistories`` says.

    Args:
        step_size: η, positive; 1.
        warmup: steps over which E_k(0) is averaged, 1 or more.

    Raises:
        ValueError: step_size or warmup is not positive.

    Raises (``backward``, ``combine``):
        FloatingPointError: a loss or a gradient is not finite.
    """

    at_representation = False
    remembers = ("squares", "logs", "first", "seen")

    def __init__(self, step_size: float = 1.0, warmup: int = 1) -> None:
        super().__init__()
        if not step_size > 0 or warmup < 1:
            raise ValueError(f"step_size={step_size}, warmup={warmup} must be positive")
        self.step_size = step_size
        self.warmup = warmup
        self.squares: History = {}
        self.logs: dict[str, float] = {}
        """Logarithms of the weights, up to one summand."""
        self.first: dict[str, float] = {}
        """E_k(0), or what of it is summed up by now."""
        self.seen: dict[str, int] = {}

    def mix(self, gradients: TaskGradients) -> Mixture:
        """Look at the gradients, and move the weights."""
        rows, reaching = split(gradients)
        losses, tasks = gradients.loss_values(), gradients.tasks
        finite(losses, tasks, self)
        among = [tasks[k] for k in reaching]
        weights = np.ones(len(tasks))
        if reaching:
            keys = self._positions(gradients.parameters)
            weights[reaching] = self._moved(among, self._excess(among, [rows[k] for k in reaching], keys))
        return MatrixMixture(gradients, np.diag(weights), weights)

    def _excess(self, tasks: Sequence[str], rows: Sequence[Row], keys: Sequence[int]) -> list[float]:
        """E_k; the squares have been added to S."""
        held = [[g for g in row if g is not None] for row in rows]
        squared = [list(torch._foreach_mul(own, own)) for own in held]
        broken = [bool(own) and not all(bool(torch.isfinite(each).all()) for each in own) for own in squared]
        self.need_finite(np.where(broken, np.nan, 0.0), tasks)
        found = []
        for task, row, own in zip(tasks, rows, squared, strict=True):
            past = self._past(self.squares, task, row, keys)
            at = [(key, s) for key, s, g in zip(keys, past, row, strict=True) if g is not None]
            sums = [square if s is None else s + square for (_, s), square in zip(at, own, strict=True)]
            self.squares.setdefault(task, {}).update({key: s for (key, _), s in zip(at, sums, strict=True)})
            parts = [float((square / (s + EPS).sqrt_()).sum()) for square, s in zip(own, sums, strict=True)]
            found.append(sum(parts))
        return found

    def _moved(self, tasks: Sequence[str], excess: Sequence[float]) -> np.ndarray:
        """The weights of these tasks, with sum 1, after a step of the exponentiated gradient."""
        before = np.array([self.logs.get(task, 0.0) for task in tasks])
        gains = np.zeros(len(tasks))
        for k, (task, value) in enumerate(zip(tasks, excess, strict=True)):
            self.seen[task] = self.seen.get(task, 0) + 1
            if self.seen[task] <= self.warmup:
                self.first[task] = self.first.get(task, 0.0) + value / self.warmup
            else:
                gains[k] = self.step_size * value / (self.first[task] + EPS)
        after = before + gains
        after += np.logaddexp.reduce(before) - np.logaddexp.reduce(after)
        self.logs |= named(tasks, after)
        powers = np.exp(after - after.max())
        return np.asarray(powers / powers.sum())

    def __repr__(self) -> str:
        return f"ExcessMTL(step_size={self.step_size}, warmup={self.warmup})"
