"""torch.optim.Adadelta."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, full, learning_rate, sign


class AdadeltaRule(Rule):
    """delta = -lr sqrt(a + eps) / sqrt(v + eps) u, eps inside both roots; v from after, a from before the step."""

    def before(self, parameter: Tensor, group: Group) -> Tensor | None:
        accumulated = self.state(parameter).get("acc_delta")
        return None if accumulated is None else full(accumulated).clone()

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Tensor | None) -> Linear:
        eps, lr = float(group["eps"]), float(learning_rate(group))
        second = full(self.state(parameter)["square_avg"])
        scale = torch.add(second, eps, out=self.room.take(second)).rsqrt_()
        if before is None:
            scale.mul_(-lr * eps**0.5)
        else:
            scale.mul_(before.add_(eps).sqrt_()).mul_(-lr)
        return Linear(scale, sign=sign(group), coupled=float(group["weight_decay"]))
