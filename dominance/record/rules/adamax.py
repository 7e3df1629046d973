"""torch.optim.Adamax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, full, learning_rate, sign, steps_taken


class AdamaxRule(Rule):
    """m <- beta1 m + (1 - beta1) u; delta = -lr / (1 - beta1^t) * m / infinity norm (eps is inside the norm)."""

    def remembers(self, group: Group) -> bool:
        return bool(group["betas"][0] > 0)

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        return self.state(parameter).get("exp_avg")

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, beta1 = self.state(parameter), float(group["betas"][0])
        step = steps_taken(state, as_tensor=group.get("capturable", False))
        norm = full(state["exp_inf"])
        value = -float(learning_rate(group) / (1 - beta1**step))
        return Linear(
            torch.reciprocal(norm, out=self.room.take(norm)).mul_(value),
            carry=beta1,
            intake=1.0 - beta1,
            momentum_weight=1.0,
            gradient_weight=0.0,
            sign=sign(group),
            coupled=float(group["weight_decay"]),
        )
