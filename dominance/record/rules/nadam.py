"""torch.optim.NAdam."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dominance.record.rules.first_moment import FirstMomentRule
from dominance.record.rules.linear import Group, Linear, learning_rate, steps_taken


class NAdamRule(FirstMomentRule):
    """m <- beta1 m + (1 - beta1) u, and with mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and M = mu_1 ... mu_t::

    delta = -lr (mu_{t+1} m / (1 - M mu_{t+1}) + (1 - mu_t) u / (1 - M)) / (sqrt(v / (1 - beta2^t)) + eps)
    """

    picks = True

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr = self.state(parameter), learning_rate(group)
        beta1, beta2 = map(float, group["betas"])
        step = steps_taken(state, as_tensor=group.get("capturable", False))
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product = float(state["mu_product"])
        root = float((1 - beta2**step) ** 0.5)
        terms = self.terms(group, decoupled=group.get("decoupled_weight_decay", False))
        terms["momentum_weight"] = float(lr * mu_next / (1.0 - product * mu_next))
        terms["gradient_weight"] = float(lr * (1.0 - mu) / (1.0 - product))
        scale = self.root(state["exp_avg_sq"]).add_(float(group["eps"]) * root).reciprocal_().mul_(-root)
        return Linear(scale, **terms)
