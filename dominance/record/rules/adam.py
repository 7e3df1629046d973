"""torch.optim.Adam and AdamW, with and without AMSGrad."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, learning_rate, sign, steps_taken


class AdamRule(Rule):
    """m <- beta1 m + (1 - beta1) u; delta = -lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps).

    eps stands outside the root; v is the second moment after the step, or its running maximum with AMSGrad. Weight
    decay enters u, or shrinks the parameter by lr * weight_decay when decoupled (AdamW).
    """

    def remembers(self, group: Group) -> bool:
        return bool(group["betas"][0] > 0)

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        return self.state(parameter).get("exp_avg")

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr, decay = self.state(parameter), learning_rate(group), float(group["weight_decay"])
        beta1, beta2 = group["betas"]
        step = steps_taken(state, as_tensor=group.get("capturable", False) or group.get("differentiable", False))
        root = float((1 - beta2**step) ** 0.5)
        second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
        # value / (sqrt(v) / root + eps), with root moved to the numerator to save a pass over the parameter
        value = -float(lr / (1 - beta1**step)) * root
        # AdamW of older torch has no such entry: it was a class of its own
        decoupled = group.get("decoupled_weight_decay", isinstance(self.optimizer, torch.optim.AdamW))
        return Linear(
            self.root(second).add_(float(group["eps"]) * root).reciprocal_().mul_(value),
            carry=float(beta1),
            intake=1.0 - float(beta1),
            momentum_weight=1.0,
            gradient_weight=0.0,
            sign=sign(group),
            coupled=0.0 if decoupled else decay,
            decoupled=float(lr * decay) if decoupled else 0.0,
        )
