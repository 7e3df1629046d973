"""SI: scale-invariant scalarisation."""

from __future__ import annotations

from collections.abc import Sequence

from dominance.optim.engine.checks import positive
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class SI(LossWeighting):
    """The sum of the logarithms of the losses, which no constant factor on a loss changes (SI of Navon et al., 2022).

        L = Σ_k log L_k,    so that    w_k = 1 / L_k

    Raises (``backward``, ``combine``):
        ValueError: a loss is zero or negative.
        FloatingPointError: a loss is not finite.

    >>> import torch
    >>> w = torch.tensor([2.0], requires_grad=True)
    >>> SI().backward({"a": 5 * w.sum(), "b": 100 * w.sum()}, [w])
    >>> w.grad
    tensor([1.])
    """

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """1 / L_k."""
        positive(losses, tasks, self, "it takes their logarithm")
        return 1 / losses
