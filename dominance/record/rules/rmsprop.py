"""torch.optim.RMSprop, plain and centred, with and without momentum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, full, learning_rate, sign


class RMSpropRule(Rule):
    """delta = -lr u / d with d = sqrt(v) + eps, or sqrt(v - mean^2) + eps when centred; eps outside the root.

    With momentum b <- mu b + u / d and delta = -lr b: the memory was divided by the denominators of its own time.
    """

    def remembers(self, group: Group) -> bool:
        return bool(group["momentum"] > 0)

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        return self.state(parameter).get("momentum_buffer") if self.remembers(group) else None

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr, momentum = self.state(parameter), float(learning_rate(group)), float(group["momentum"])
        if group["centered"]:
            second, mean = full(state["square_avg"]), full(state["grad_avg"])
            root = torch.addcmul(second, mean, mean, value=-1, out=self.room.take(second)).sqrt_()
        else:
            root = self.root(state["square_avg"])
        inverse = root.add_(float(group["eps"])).reciprocal_()
        shared = {"sign": sign(group), "coupled": float(group["weight_decay"])}
        if momentum == 0:
            return Linear(inverse.mul_(-lr), **shared)
        return Linear(-lr, carry=momentum, intake=inverse, momentum_weight=1.0, gradient_weight=0.0, **shared)
