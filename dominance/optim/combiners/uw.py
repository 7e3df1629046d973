"""UW: uncertainty weighting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dominance.optim.engine.checks import Still, known, named_by, not_negative
from dominance.optim.engine.combiner import Mixture
from dominance.optim.engine.gradients import own_passes
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix, TaskGradients

Likelihood = Literal["regression", "classification"]
FACTOR = {"regression": 0.5, "classification": 1.0}


class UW(LossWeighting):
    """Learnt weights: each task's noise variance, by maximum likelihood (Kendall, Gal and Cipolla, 2018, Eq. 7 and 10).

        L = Σ_k  c_k / σ_k² · L_k + log σ_k,    c = 1/2 for a regression (squared error), 1 for a classification

    What is learnt is s_k = log σ_k², which may take any value: give ``parameters()`` to the optimizer, beside the
    model's. Each task has a parameter of its own, so that an optimizer leaves the absent ones
    alone. Task-specific parameters get the weighted gradient.

    Args:
        tasks: the names.
        likelihood: of all tasks, or task -> likelihood. Default "regression", the form that most programs use for
            every task.
        initial: s_k at the start.

    Raises:
        TypeError: a name is no string.
        ValueError: the likelihoods are not of these tasks.

    Raises (``backward``, ``combine``):
        ValueError: a task that it was not made for, or a negative loss: L is unbounded below then, as σ goes to 0.
        FloatingPointError: a loss is not finite.

    >>> import torch
    >>> uw, w = UW(["a"]), torch.tensor([3.0], requires_grad=True)
    >>> uw.backward({"a": w.sum()}, [w])
    >>> w.grad, [s.grad for s in uw.parameters()]
    (tensor([0.5000]), [tensor(-1.)])
    """

    remembers = ("log_variances",)

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        likelihood: Likelihood | Mapping[str, Likelihood] = "regression",
        initial: float = 0.0,
    ) -> None:
        super().__init__()
        named_by(tasks, self)
        of_each = likelihood if isinstance(likelihood, Mapping) else dict.fromkeys(tasks, likelihood)
        if set(of_each) != set(tasks) or not set(of_each.values()) <= set(FACTOR):
            raise ValueError(f"likelihood must say {' or '.join(FACTOR)} for each of {', '.join(tasks)}: {of_each}")
        self.likelihood = of_each
        self._still = Still("no optimizer moves UW's parameters(): give them to one, beside the model's")
        self.log_variances = {task: nn.Parameter(torch.tensor(float(initial))) for task in tasks}

    def parameters(self) -> Iterator[Tensor]:
        """s_k of each task, 0-dim."""
        return iter(self.log_variances.values())

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """c_k / σ_k²."""
        known(tuple(self.log_variances), tasks, self)
        not_negative(losses, tasks, self, "or the variance goes to 0")
        return np.array([FACTOR[self.likelihood[t]] * math.exp(-float(self.log_variances[t].detach())) for t in tasks])

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Σ_k c_k exp(-s_k) L_k + s_k / 2."""
        self.loss_weights(np.array([float(loss.detach()) for loss in losses.values()]), tuple(losses))
        self._still.look({task: s.item() for task in losses if (s := self.log_variances[task]).requires_grad})
        parts = []
        for task, loss in losses.items():
            s = self.log_variances[task]
            parts.append(FACTOR[self.likelihood[task]] * torch.exp(-s) * loss.reshape(()) + 0.5 * s)
        return torch.stack(parts).sum()

    def mix(self, gradients: TaskGradients) -> Mixture:
        """As ever; s_k gets its gradient here too, 1/2 - c_k exp(-s_k) L_k."""
        mixture = super().mix(gradients)
        losses = dict(zip(gradients.tasks, gradients.losses, strict=True))
        learnt = [s for task in losses if (s := self.log_variances[task]).requires_grad]
        if learnt:
            with own_passes(), torch.enable_grad():
                torch.autograd.backward(self.total(losses), inputs=learnt)
        return mixture

    def __repr__(self) -> str:
        return f"UW({list(self.log_variances)})"
