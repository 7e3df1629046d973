"""FAMO: fast adaptive multitask optimization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dominance.optim.engine.checks import Still, named_by, positive
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.scalar_adam import ScalarAdam, State
from dominance.optim.engine.task_gradients import Loss, Matrix, values_of

EPS = 1e-8


class FAMO(LossWeighting):
    """Weights under which all losses fall at the same rate, from losses alone (Liu et al., 2023, Algorithm 1).

        z = softmax(ξ),    w_k = c z_k / (L_k - b_k),    c = 1 / Σ_k z_k / (L_k - b_k)
        δ = Jᵀ (log(L - b) at the step - log(L - b) after it),    J = ∂z/∂ξ
        ξ <- ξ - β (δ + γ ξ)

    After ``optimizer.step()`` compute the losses of the *same batch* again and call ``after_step(losses)``; without
    the call the weights stay. As in the authors' program the rule for ξ is a step of Adam with weight decay γ, and
    1e-8 is added to each L_k - b_k. The weights sum to 1 over the tasks of the batch.

    Args:
        lr: β; 0.025.
        weight_decay: γ; 0.001.
        min_losses: b, lower bounds of the losses, for all tasks or task -> bound; 0.

    Raises (``backward``, ``combine``, ``after_step``):
        ValueError: a loss is not above its lower bound, or ``after_step`` is called before the step.
        FloatingPointError: a loss is not finite.

    >>> import torch
    >>> famo, w = FAMO(), torch.tensor([1.0], requires_grad=True)
    >>> famo.backward({"a": w.sum(), "b": 3 * w.sum()}, [w])
    >>> w.grad  # c = 1 / (0.5 / 1 + 0.5 / 3) = 1.5: weights 3/4 and 1/4
    tensor([1.5000])
    """

    remembers = ("logits", "moments", "before")

    def __init__(
        self, lr: float = 0.025, weight_decay: float = 1e-3, *, min_losses: float | Mapping[str, float] = 0.0
    ) -> None:
        super().__init__()
        named_by(min_losses if isinstance(min_losses, Mapping) else (), self)
        self._still = Still("FAMO learns when after_step(losses) is called after each step, and it was not")
        self.adam = ScalarAdam(lr, weight_decay=weight_decay)
        self.min_losses = min_losses
        self.logits: dict[str, float] = {}
        self.moments: State = {}
        self.before: dict[str, float] = {}

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """c z_k / (L_k - b_k); the losses are kept for ``after_step``."""
        above = self._above(losses, tasks)
        self._still.look({task: self.logits.get(task, 0.0) for task in tasks})
        self.before = dict(zip(tasks, losses.tolist(), strict=True))
        weights = self._shares(tasks) / above
        return np.asarray(weights / weights.sum())

    def after_step(self, losses: Mapping[str, Loss | None]) -> None:
        """Move ξ, by how much the loss of each task that was in the batch has fallen.

        Raises:
            TypeError: not a mapping of names to tensors.
            ValueError: a loss is not a scalar, or none of them, or one too many, was in the batch.
        """
        if not self.before:
            raise ValueError("FAMO.after_step comes after backward() and the optimizer's step, once")
        found = self._after(losses)
        tasks = list(found)
        now = values_of([loss.detach() for loss in found.values()])
        then = np.array([self.before[task] for task in tasks])
        fall = np.log(self._above(then, tasks)) - np.log(self._above(now, tasks))
        z = self._shares(tasks)
        delta = z * (fall - z @ fall)
        logits = {task: self.logits.get(task, 0.0) for task in tasks}
        self.logits |= self.adam.step(logits, dict(zip(tasks, delta.tolist(), strict=True)), self.moments)
        self.before = {}
        self._still.moved = True

    def _after(self, losses: Mapping[str, Loss | None]) -> dict[str, Loss]:
        """The losses after the step, looked at."""
        if not isinstance(losses, Mapping):
            raise TypeError(f"losses is a {type(losses).__name__}; give a mapping of names to tensors")
        named_by(losses, self)
        found = {task: loss for task, loss in losses.items() if loss is not None}
        for task, loss in found.items():
            if not isinstance(loss, Loss):
                raise TypeError(f"the loss of {task!r} is a {type(loss).__name__}, not a tensor")
            value = loss.detach()
            if value.numel() != 1:
                raise ValueError(f"the loss of {task!r} has shape {tuple(value.shape)}; reduce it to a scalar")
        strangers = [task for task in found if task not in self.before]
        if strangers or not found:
            which = f"that of {', '.join(strangers)} was not in it" if strangers else "none is given"
            raise ValueError(f"FAMO.after_step takes the losses of the batch {', '.join(self.before)} again: {which}")
        return found

    def _above(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """L - b."""
        bounds = self.min_losses
        least = [bounds.get(task, 0.0) if isinstance(bounds, Mapping) else bounds for task in tasks]
        positive(losses - least, tasks, self, "loss minus its lower bound, of which it takes the logarithm")
        return losses - least + EPS

    def _shares(self, tasks: Sequence[str]) -> Matrix:
        """z, over these tasks."""
        logits = np.array([self.logits.get(task, 0.0) for task in tasks])
        powers = np.exp(logits - logits.max())
        return np.asarray(powers / powers.sum())

    def __repr__(self) -> str:
        return f"FAMO(lr={self.adam.lr}, weight_decay={self.adam.weight_decay})"
