"""EqualWeight: the sum of the losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix


class EqualWeight(LossWeighting):
    """Linear scalarisation with weights 1 (LS; EqualWeight of the AdaTask paper; Caruana, 1997).

        L = Σ_k L_k

    >>> import torch
    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> EqualWeight().backward({"a": 2 * w.sum(), "b": (w**2).sum()}, [w])
    >>> w.grad
    tensor([4.])
    """

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """Ones."""
        return np.ones(len(tasks))
