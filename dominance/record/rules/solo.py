"""The solo update f(g): the step an optimizer would take from one task's gradient alone, its state held fixed.

PUB (Table II, Algorithm 1) computes it from the state and the gradient with no decay term, since weight decay belongs
to no task: so here weight decay is left out, coupled and decoupled alike.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.rules.linear import full
from dominance.record.rules.of_optimizer import OfOptimizer
from dominance.record.rules.shadow import Fence, Shadow, shadow_of, step_of

__all__ = ["ByParameter", "ShadowSolo", "Solo", "TaskSteps", "shadow_of"]

ByParameter = Mapping[Tensor, Mapping[str, Tensor]]
TaskSteps = dict[Tensor, dict[str, Tensor]]


class Solo(Protocol):
    """A way to compute the solo updates of one optimizer."""

    @property
    def note(self) -> str:
        """How, or why not, in a few words."""

    @property
    def state_share(self) -> float:
        """Of the last step: see ``ShadowSolo.state_share``."""

    def before_step(self, parameters: Sequence[Tensor]) -> None:
        """Keep the optimizer's state as it is before the step."""

    def after_step(self, gradients: ByParameter) -> TaskSteps:
        """Solo update of every task on the parameters that it reaches, in their shape (float32 for half precision).

        Empty where none can be computed; ``note`` says why.
        """


class ShadowSolo(OfOptimizer):
    """Runs the optimizer's own code on copies of its parameters and state, once for each task.

    The class's undecorated ``step`` is called, so that no hook fires. Where it cannot be run so, no solo update is
    computed and ``note`` says why.
    """

    def __init__(self, optimizer: Optimizer, *, foreign: bool) -> None:
        super().__init__(optimizer)
        self._fence = Fence(optimizer, foreign=foreign)
        self._kept: Shadow | None = None
        self.state_share = 0.0
        """max over the tasks of 1 - |f(g) - f(0)| / |f(g)|, over parameters that several tasks reach; at least 0.

        f(0) is the step from no gradient at all: the optimizer's momentum, and nothing of this step's tasks. Near 1,
        some task's solo update is what the optimizer was about to do anyway, whoever made it so, and the lengths of the
        solo updates cannot tell the tasks apart.
        """

    @property
    def note(self) -> str:
        if self._fence.failed:
            return f"no solo update: {self._fence.failed}"
        return "solo update by a copy of the optimizer with its state before the step, without weight decay"

    def before_step(self, parameters: Sequence[Tensor]) -> None:
        optimizer = self.optimizer
        self._kept = self._fence.run(lambda: shadow_of(optimizer))

    def after_step(self, gradients: ByParameter) -> TaskSteps:
        kept, self._kept = self._kept, None
        steps: TaskSteps = {}
        if kept is None:
            return steps
        for task in dict.fromkeys(task for split in gradients.values() for task in split):
            mine = {p: split[task] for p, split in gradients.items() if task in split and p in kept.copies}
            taken = self._fence.run(functools.partial(_step_alone, *kept, mine))
            if taken is None:
                return {}
            for p, step in taken.items():
                steps.setdefault(p, {})[task] = step
        self._note_share(kept, steps)
        return steps

    def _note_share(self, kept: Shadow, steps: TaskSteps) -> None:
        shared = {p: each for p, each in steps.items() if len(each) > 1}
        nothing = {p: torch.zeros_like(p) for p in shared}
        idle = self._fence.run(functools.partial(_step_alone, *kept, nothing)) if shared else None
        if not idle:
            self.state_share = 0.0
            return
        length: dict[str, float] = {}
        decided: dict[str, float] = {}
        for p, each in shared.items():
            for task, update in each.items():
                length[task] = length.get(task, 0.0) + float(update.double().square().sum())
                decided[task] = decided.get(task, 0.0) + float((update - idle[p]).double().square().sum())
        shares = [1 - (decided[task] / length[task]) ** 0.5 for task in length if length[task] > 0]
        self.state_share = max([0.0, *shares])


def _step_alone(
    template: Optimizer, theta: dict[Tensor, Tensor], gradients: Mapping[Tensor, Tensor]
) -> dict[Tensor, Tensor]:
    """The step of a copy of ``template`` from these gradients alone; ``theta`` maps parameters to the template's."""
    shadow, copies = shadow_of(template)
    for p, gradient in gradients.items():
        copies[theta[p]].grad = _as_fed(gradient, p)
    step_of(shadow)
    return {p: full(copies[theta[p]].detach()) - full(theta[p]) for p in gradients}


def _as_fed(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The task's gradient as the optimizer expects it: in the parameter's dtype, sparse where the whole gradient is."""
    gradient = gradient.detach().to(parameter.dtype)
    if parameter.grad is not None and parameter.grad.is_sparse:
        return gradient.to_sparse(parameter.grad.sparse_dim())  # rows that are all zero are not the task's to touch
    return gradient.clone()
