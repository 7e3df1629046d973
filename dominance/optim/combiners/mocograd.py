"""MoCoGrad: momentum-calibrated conflicting gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from dominance.optim.engine.combiner import Mixture
from dominance.optim.engine.histories import History, WithHistories
from dominance.optim.engine.task_gradients import Matrix, Row, TaskGradients, gram_matrix, weighted_sum

if TYPE_CHECKING:
    from dominance.optim.engine.representation import Pull


class MoCoGrad(WithHistories):
    """Where two gradients conflict, each gets some of the other's momentum (MoCoGrad paper, Algorithm 1, Eq. 8-9).

        for each task i:  ĝ_i = g_i + λ_t Σ_{j: GCD(g_i, g_j) > 1} ‖g_j‖ / ‖m_j‖ · m_j,    λ_t = λ / t^p
        then              m_j <- β1 m_j + (1 - β1) g_j      ("raw")   or   ... ĝ_j   ("calibrated")

    GCD = 1 - cos, so a conflict is g_i · g_j < 0. The m_j are those from before the step, zero in the first one, which
    therefore calibrates nothing; the norms are over all shared parameters. So Ĝ = [I B] [G; M] with a small matrix B.
    The paper leaves open, or says in two ways:

    - *What is averaged.* Algorithm 1 averages g_j, Eq. 9 the calibrated ĝ_j. The default is "raw": it is the complete
      procedure, and m_j is then the history of task j alone, which is what the method is for; with "calibrated" m_j
      takes in the momenta of the tasks that j conflicts with. The authors' code has one momentum in the place of all
      m_j, Adam's own, of the sum of the ĝ_j: that is "joint".
    - *How often.* Algorithm 1, line 12, moves m_j within the loop over pairs, K - 1 times a step. Here it moves once a
      step, as the index t of Eq. 9 says; with K = 2 this is the same.
    - *Several conflicts.* Each j adds its term, and g_i is tested against g_j as it was (lines 6-10).

    Momenta are kept for each task and shared parameter, as ``WithHistories`` says. t counts steps, whoever is there.

    With ``representation`` (Sec. V of the paper, for speed) gradients, norms and momenta are those of the shared
    representation. A sample of one batch has nothing to do with the sample at its place in the next, so a momentum is
    that of the average over the samples (the first dimension, if there are two or more), and goes to each of them;
    batches may differ in size. Where those of two tasks do, it is their averages that are in conflict or not.

    Args:
        lam: λ, in (0, 1]; 0.12, best on Office-Home.
        beta1: β1; 0.9.
        average: what the momenta average.
        decay_power: p; 0 is a constant λ, 1/2 is what the convergence rate of Corollary 1 asks for. It wants the
            learning rate to fall likewise, which is the optimizer's: ``torch.optim.lr_scheduler.LambdaLR(optimizer,
            lambda t: (t + 1) ** -0.5)``, or ``dominance train --lr-power 0.5``.

    Raises (``backward``, ``combine``):
        ValueError: a momentum has not the shape of its parameter, as after loading the state of another model.
        FloatingPointError: a gradient is not finite.
    """

    remembers = ("momenta", "steps")

    def __init__(
        self,
        lam: float = 0.12,
        beta1: float = 0.9,
        *,
        average: Literal["raw", "calibrated", "joint"] = "raw",
        decay_power: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < lam <= 1 or not 0 <= beta1 < 1 or decay_power < 0:
            raise ValueError(f"lam={lam}, beta1={beta1}, decay_power={decay_power} must be in (0, 1], [0, 1), [0, oo)")
        if average not in ("raw", "calibrated", "joint"):
            raise ValueError(f'average is {average!r}; it can be "raw", "calibrated" or "joint"')
        self.lam = lam
        self.beta1 = beta1
        self.average = average
        self.decay_power = decay_power
        self.momenta: History = {}
        """Of each task and parameter; of a representation at position -1. The joint one is that of the task ""."""
        self.steps = 0

    def mix(self, gradients: TaskGradients) -> Mixture:
        """Calibrate with the momenta that are there; then these move."""
        gram = gradients.gram()
        rows = [[g if s else None for g, s in zip(row, gradients.shared, strict=True)] for row in gradients.rows]
        keys = self._positions(gradients.parameters)
        momenta, calibration = self._calibration(gram, gradients.tasks, rows, keys)
        self._remember(gradients.tasks, rows, momenta, calibration, keys)
        return Calibrated(gradients, momenta, calibration)

    def pull(self, tasks: Sequence[str], losses: Matrix, points: Sequence[Tensor], gradients: Row) -> Pull:
        """The calibrated gradients; the momentum of a task goes in at its own representation.

        Raises:
            ValueError: the representations differ in more than the number of samples.
        """
        from dominance.optim.engine.representation import Pull

        means = [[None if g is None else g.mean(dim=0) if g.dim() > 1 else g] for g in gradients]
        momenta, calibration = self._calibration(_gram(tasks, points, gradients, means), tasks, means, (-1,), points)
        self._remember(tasks, means, momenta, calibration, (-1,))
        spread = [None if (m := row[0]) is None else m.expand_as(p) for row, p in zip(momenta, points, strict=True)]
        total = [
            weighted_sum(pair, (1.0, weight))
            for *pair, weight in zip(gradients, spread, calibration.sum(axis=0), strict=True)
        ]
        if not calibration.any():
            return Pull(total, np.ones(len(tasks)), np.ones(len(tasks)))
        parts = (
            [weighted_sum((gradients[j] if i == j else None, spread[j]), (1.0, of_i[j])) for j in range(len(tasks))]
            for i, of_i in enumerate(calibration)
        )
        return Pull(total, np.ones(len(tasks)), None, parts)

    def _calibration(
        self,
        gram: Matrix,
        tasks: Sequence[str],
        rows: Sequence[Row],
        keys: Sequence[int],
        points: Sequence[Tensor] | None = None,
    ) -> tuple[list[Row], Matrix]:
        """The momenta of the tasks, and B: row i holds the factors of the momenta in ĝ_i, shape (K, K).

        Args:
            keys: positions of the parameters.
            points: where each momentum is spread over the samples, and has as many times its squared norm.
        """
        self.need_finite(np.diagonal(gram), tasks)
        self.steps += 1
        kept = [""] * len(tasks) if self.average == "joint" else tasks
        momenta = [self._past(self.momenta, task, row, keys) for task, row in zip(kept, rows, strict=True)]
        lengths = np.sqrt([float(np.diagonal(gram_matrix([row]))[0]) for row in momenta])
        if points is not None:
            lengths = lengths * np.sqrt([len(p) if p.dim() > 1 else 1 for p in points])
        norms = np.sqrt(np.diagonal(gram))
        factors = self.lam / self.steps**self.decay_power * np.divide(norms, lengths, where=lengths > 0, out=0 * norms)
        return momenta, np.where(gram < 0, factors, 0.0)

    def _remember(
        self,
        tasks: Sequence[str],
        rows: Sequence[Row],
        momenta: list[Row],
        calibration: Matrix,
        keys: Sequence[int],
    ) -> None:
        """Eq. 9. The earlier momenta are left as they are: the mixture still needs them."""
        count, new = len(tasks), 1 - self.beta1
        of_momenta, of_rows = self.beta1 * np.eye(count), new * np.eye(count)
        if self.average != "raw":
            of_momenta += new * calibration
        if self.average == "joint":  # all momenta are the same one, and all ĝ go into it
            of_momenta[:, 1:], of_momenta[:, 0] = 0.0, self.beta1 + new * calibration.sum()
            tasks, of_momenta, of_rows = [""], of_momenta[:1], np.full((1, count), new)
        for task, of_m, of_g in zip(tasks, of_momenta, of_rows, strict=True):
            of_task = self.momenta.setdefault(task, {})
            for i, key in enumerate(keys):
                moved = weighted_sum((*(m[i] for m in momenta), *(row[i] for row in rows)), (*of_m, *of_g))
                if moved is not None:
                    of_task[key] = moved

    def __repr__(self) -> str:
        return f"MoCoGrad(lam={self.lam}, beta1={self.beta1}, average={self.average!r})"


class Calibrated:
    """[I B] [G; M], a mixture.

    Args:
        momenta: M, K rows like those of the gradients; None is zero.
        calibration: B, shape (K, K).
    """

    def __init__(self, gradients: TaskGradients, momenta: Sequence[Row], calibration: Matrix) -> None:
        self.gradients = gradients
        self.momenta = momenta
        self.calibration = calibration

    def total(self) -> Row:
        found = self.gradients.total()
        weights = self.calibration.sum(axis=0)
        return [weighted_sum((g, *(m[i] for m in self.momenta)), (1.0, *weights)) for i, g in enumerate(found)]

    def rows(self) -> TaskGradients:
        g = self.gradients
        rows = [
            [weighted_sum((part, *(m[i] for m in self.momenta)), (1.0, *weights)) for i, part in enumerate(row)]
            for row, weights in zip(g.rows, self.calibration, strict=True)
        ]
        return TaskGradients(g.tasks, g.parameters, rows, g.losses, g.shared)

    def weights(self) -> dict[str, float] | None:
        return None if self.calibration.any() else dict.fromkeys(self.gradients.tasks, 1.0)


def _gram(tasks: Sequence[str], points: Sequence[Tensor], gradients: Row, means: list[Row]) -> Matrix:
    """G Gᵀ at the representation; off the diagonal, where samples have no counterpart, that of their averages."""
    if len({point.shape for point in points}) == 1:
        return gram_matrix([[g] for g in gradients])
    if len({point.shape[1:] if point.dim() > 1 else point.shape for point in points}) > 1:
        listed = ", ".join(f"{task} {tuple(point.shape)}" for task, point in zip(tasks, points, strict=True))
        raise ValueError(f"the representations of the tasks differ in more than the number of samples: {listed}")
    gram = gram_matrix(means)
    np.fill_diagonal(gram, [float(gram_matrix([[g]])[0, 0]) for g in gradients])
    return gram
