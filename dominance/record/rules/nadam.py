"""torch.optim.NAdam."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, learning_rate, sign, steps_taken


class NAdamRule(Rule):
    """m <- beta1 m + (1 - beta1) u, and with mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) and M = mu_1 ... mu_t::

    delta = -lr (mu_{t+1} m / (1 - M mu_{t+1}) + (1 - mu_t) u / (1 - M)) / (sqrt(v / (1 - beta2^t)) + eps)
    """

    picks = True

    def remembers(self, group: Group) -> bool:
        return bool(group["betas"][0] > 0)

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        return self.state(parameter).get("exp_avg")

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr, decay = self.state(parameter), learning_rate(group), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        step = steps_taken(state, as_tensor=group.get("capturable", False))
        mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
        mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * group["momentum_decay"]))
        product = float(state["mu_product"])
        root = float((1 - beta2**step) ** 0.5)
        decoupled = group.get("decoupled_weight_decay", False)
        return Linear(
            self.root(state["exp_avg_sq"]).add_(float(group["eps"]) * root).reciprocal_().mul_(-root),
            carry=beta1,
            intake=1.0 - beta1,
            momentum_weight=float(lr * mu_next / (1.0 - product * mu_next)),
            gradient_weight=float(lr * (1.0 - mu) / (1.0 - product)),
            sign=sign(group),
            coupled=0.0 if decoupled else decay,
            decoupled=float(lr * decay) if decoupled else 0.0,
        )
