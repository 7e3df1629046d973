"""torch.optim.Adamax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.first_moment import FirstMomentRule
from dominance.record.rules.linear import Group, Linear, full, learning_rate, steps_taken


class AdamaxRule(FirstMomentRule):
    """m <- beta1 m + (1 - beta1) u; delta = -lr / (1 - beta1^t) * m / infinity norm (eps is inside the norm)."""

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, beta1 = self.state(parameter), float(group["betas"][0])
        step = steps_taken(state, as_tensor=group.get("capturable", False))
        norm = full(state["exp_inf"])
        value = -float(learning_rate(group) / (1 - beta1**step))
        return Linear(torch.reciprocal(norm, out=self.room.take(norm)).mul_(value), **self.terms(group))
