"""BanditMTL: the variance of the losses as a regulariser, by mirror ascent on the weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.checks import finite
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class BanditMTL(LossWeighting):
    """The worst weighting near the even one, followed by mirror gradient ascent (Mao et al., 2021, Algorithm 1).

    The mean of the losses plus sqrt(ρ times their variance) is, to first order, the largest weighted sum of them over
    the weights that are close to even:

        min_θ  max_p  Σ_k p_k L_k(θ),    p on the simplex with  KL(p, 1/K) = Σ_k p_k log(K p_k) <= ρ

    After each step on θ the weights take one of mirror ascent:

        p_k  <-  q_k^(1 / (1 + λ)) / Σ_i q_i^(1 / (1 + λ)),    q_k = p_k exp(η L_k)

    with the smallest λ >= 0 that keeps KL within ρ, found by bisection. A ρ of log K or more never binds. The scale of
    the losses matters: exp(η L) follows it.

    The weights sum to 1 over the tasks of a batch; among those they move, and the weight of an absent task compared
    with the average of the others stays.

    Args:
        rho: radius ρ; 1.2.
        eta: step η of the ascent; 0.5.

    Raises (``backward``, ``combine``):
        FloatingPointError: a loss is not finite.

    >>> bandit = BanditMTL(eta=1.0)
    >>> bandit.loss_weights(np.array([0.0, np.log(3)]), ("a", "b"))
    array([0.5, 0.5])
    >>> bandit.loss_weights(np.array([0.0, 0.0]), ("a", "b"))
    array([0.25, 0.75])
    """

    remembers = ("scores",)

    def __init__(self, rho: float = 1.2, eta: float = 0.5) -> None:
        super().__init__()
        if not (rho > 0 and eta > 0):
            raise ValueError(f"rho and eta must be positive: {rho}, {eta}")
        self.rho = rho
        self.eta = eta
        self.scores: dict[str, float] = {}
        """log(K p_k)."""

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """p as it is; then the ascent."""
        finite(losses, tasks, self)
        scores = np.array([self.scores.get(task, 0.0) for task in tasks])
        weights = _softmax(scores)
        moved = project(scores + self.eta * losses, self.rho)
        kept = np.logaddexp.reduce(scores)  # the share of these tasks in the weight of all
        self.scores.update(zip(tasks, (moved + kept).tolist(), strict=True))
        return weights

    def __repr__(self) -> str:
        return f"BanditMTL(rho={self.rho}, eta={self.eta})"


def project(scores: Matrix, rho: float) -> Matrix:
    """log p of p proportional to exp(scores / (1 + λ)), the smallest λ >= 0 with KL(p, 1/K) <= ρ; shape (K,).

    KL falls from its value at λ = 0 to 0 as λ grows, so 1 / (1 + λ) is bisected between 0 and 1.
    """
    if _divergence(_log_softmax(scores)) <= rho:
        return _log_softmax(scores)
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if _divergence(_log_softmax(scores * middle)) <= rho:
            low = middle
        else:
            high = middle
    return _log_softmax(scores * low)


def _divergence(log_p: Matrix) -> float:
    return float(np.exp(log_p) @ log_p + np.log(len(log_p)))


def _log_softmax(scores: Matrix) -> Matrix:
    return np.asarray(scores - np.logaddexp.reduce(scores))


def _softmax(scores: Matrix) -> Matrix:
    return np.exp(_log_softmax(scores))
