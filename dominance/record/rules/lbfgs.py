"""torch.optim.LBFGS: solo updates. Its step is split additively in ``lbfgs_parts``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.rules.linear import learning_rate
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.solo import ByParameter, TaskSteps


class LBFGSSolo(OfOptimizer):
    """Solo update -t H g: one iteration from the task's gradient, with H from the history as it stood before the step.

    For a given history the two-loop recursion is linear in g, so these add up over tasks. No line search is made, which
    would need the task's loss: t = lr, and on the very first step t = lr min(1, 1 / |g|_1), H = identity, as in torch.
    The gradient of a parameter that is not recorded counts as zero.
    """

    note = "solo update -lr H g, with the inverse Hessian of the history before the step and no line search"

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self.state_share = 0.0
        """The history is no momentum: from no gradient it takes no step."""
        self._parameters: list[Tensor] = optimizer.param_groups[0]["params"]
        self._recorded: set[Tensor] = set()
        self._rate = 0.0
        self._state: dict[str, Any] = {}

    def before_step(self, parameters: Sequence[Tensor]) -> None:
        self._recorded = set(parameters)
        optimizer = self.optimizer
        self._rate = float(learning_rate(optimizer.param_groups[0]))
        state = optimizer.state.get(self._parameters[0], {})
        # the lists are changed in place by the step, the tensors in them are not
        self._state = {name: list(value) if isinstance(value, list) else value for name, value in state.items()}

    def after_step(self, gradients: ByParameter) -> TaskSteps:
        steps: TaskSteps = {p: {} for p in self._recorded}
        for task in dict.fromkeys(task for split in gradients.values() for task in split):
            direction = self._step({p: split[task] for p, split in gradients.items() if task in split})
            for p, part in zip(
                self._parameters, torch.split(direction, [p.numel() for p in self._parameters]), strict=True
            ):
                if p in self._recorded and task in gradients.get(p, {}):
                    steps[p][task] = part.view_as(p).clone()
        return steps

    def _step(self, gradient: Mapping[Tensor, Tensor]) -> Tensor:
        flat = [gradient[p].reshape(-1) if p in gradient else p.new_zeros(p.numel()) for p in self._parameters]
        g, lr = torch.cat(flat), self._rate
        if not self._state.get("n_iter"):
            return g * (-lr * min(1.0, 1.0 / max(g.abs().sum().item(), torch.finfo(g.dtype).tiny)))
        return two_loop(g, self._state["old_dirs"], self._state["old_stps"], self._state["H_diag"]).mul_(-lr)


def two_loop(g: Tensor, gradient_changes: Sequence[Tensor], steps: Sequence[Tensor], diagonal: Any) -> Tensor:
    """H g by the two-loop recursion (Nocedal and Wright, Algorithm 7.4), from gradient changes y, steps s and H0.

    Args:
        g: flat gradient, shape (n,).
        gradient_changes, steps: y and s of the kept iterations, oldest first, each of shape (n,).
        diagonal: H0, a number.
    """
    q = g.clone()
    alphas: list[Tensor] = []
    for y, s in zip(reversed(gradient_changes), reversed(steps), strict=True):
        alphas.append(s.dot(q) / y.dot(s))
        q.sub_(alphas[-1] * y)
    r: Tensor = q * diagonal
    for y, s, alpha in zip(gradient_changes, steps, reversed(alphas), strict=True):
        r.add_((alpha - y.dot(r) / y.dot(s)) * s)
    return r
