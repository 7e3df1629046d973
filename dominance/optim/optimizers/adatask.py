"""AdaTask: every task has its own accumulated gradients, and so its own learning rate for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dominance.optim.engine.foreach_lists import Group, Part, State, coupled, fed, parts_of
from dominance.optim.engine.listeners import listeners
from dominance.optim.engine.task_gradients import TaskGradients
from dominance.optim.engine.taskwise import Parameters, TaskwiseOptimizer
from dominance.optim.optimizers.ladatask import Aggregate, Granularity, SharedLayers, Shares


class AdaTaskOptimizer(TaskwiseOptimizer):
    """theta <- theta + sum_k factor * numerator^k / denominator^k (Algorithm 2); subclasses give the three for a task.

    With a ``granularity`` other than "parameter" this is LAdaTask, see ``dominance.optim.optimizers.ladatask``.
    """

    corrects_bias: ClassVar[bool] = False
    """Averages are divided by how much of their weight they have seen."""

    def __init__(
        self, params: Parameters, defaults: dict[str, Any], granularity: Granularity, aggregate: Aggregate
    ) -> None:
        if aggregate not in ("mean", "sum"):
            raise ValueError(f"aggregate is {aggregate!r}; give 'mean' or 'sum'")
        self._granularity, self._aggregate = granularity, aggregate
        self._layers: SharedLayers | None = None
        super().__init__(params, defaults)

    @property
    def announced_are_solo(self) -> bool:
        """Whether every task steps as if it were alone: not so in LAdaTask, whose tasks share G."""
        return self._layers is None

    def add_param_group(self, param_group: Group) -> None:
        """As in torch; the layers of LAdaTask are found anew."""
        super().add_param_group(param_group)
        self._find_layers()

    def __getstate__(self) -> dict[str, Any]:
        kept: dict[str, Any] = super().__getstate__()
        return kept | {"_granularity": self._granularity, "_aggregate": self._aggregate}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._find_layers()

    def _square(
        self, group: Group, states: Sequence[State], parameters: list[Tensor], row: list[Tensor]
    ) -> list[Tensor]:
        """G <- f(G, g²) (Eq. 5), in place. Returns what the root is taken of."""
        raise NotImplementedError

    def _decay(self, group: Group) -> float | None:
        """gamma of the moving average of squared gradients; None where they are summed."""
        raise NotImplementedError

    def _terms(
        self, group: Group, states: Sequence[State], steps: Sequence[int], row: list[Tensor], roots: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[float]]:
        """Numerators, denominators and factors of one task's update; its first moments move.

        Args:
            states: of the task, one for each parameter.
            steps: how often G was fed, for each parameter.
            row: what the task's state is fed.
            roots: of G; may be overwritten.
        """
        raise NotImplementedError

    def _update(self, gradients: TaskGradients) -> None:
        parts = [(group, part) for group in self.param_groups for part in parts_of(group, gradients)]
        shares = None if self._layers is None else self._layers.shares(self.state, parts, self._decay)
        for group, part in parts:
            self._update_part(group, part, shares)

    def _update_part(self, group: Group, part: Part, shares: Shares | None) -> None:
        theta, decay = part.parameters, coupled(group)
        if group["weight_decay"] and not decay:
            torch._foreach_mul_(theta, 1 - float(group["lr"]) * group["weight_decay"])
        # every task's decay is by the parameters as they were before the step
        before = [p.clone() for p in theta] if decay and len(part.tasks) > 1 else theta
        roots: list[Tensor] = []
        joint: list[State] = []
        if shares is not None:
            joint = _counted([self.state[p].setdefault("joint", {"step": 0}) for p in theta])
            roots = list(torch._foreach_sqrt(self._square(group, joint, theta, _summed(part, before, decay))))
        for k, task in enumerate(part.tasks):
            row, states = fed(part, k, before, decay), _counted([self._task_state(p, task) for p in theta])
            if shares is None:
                own = list(torch._foreach_sqrt(self._square(group, states, theta, row)))
            else:
                own = list(torch._foreach_mul(roots, [shares(p, task) ** 0.5 for p in theta]))
            steps = [state["step"] for state in joint or states]
            numerators, denominators, factors = self._terms(group, states, steps, row, own)
            if listeners:
                updates = list(torch._foreach_div(numerators, denominators))
                torch._foreach_mul_(updates, factors)
                for listener in listeners:
                    listener.updates(self, theta, task, updates)
            torch._foreach_addcdiv_(theta, numerators, denominators, factors)

    def _find_layers(self) -> None:
        self._layers = None
        if self._granularity != "parameter":
            self._layers = SharedLayers(
                self.param_groups, self._granularity, self._aggregate, corrected=self.corrects_bias
            )


def _counted(states: list[State]) -> list[State]:
    for state in states:
        state["step"] += 1
    return states


def _summed(part: Part, theta: list[Tensor], decay: float) -> list[Tensor]:
    """The joint gradient (Algorithm 1, line 10), with the weight decay."""
    total = part.rows[0]
    for k, row in enumerate(part.rows[1:]):
        if k == 0:
            total = list(torch._foreach_add(total, row))
        else:
            torch._foreach_add_(total, row)
    return list(torch._foreach_add(total, theta, alpha=decay)) if decay else total
