"""torch.optim.RAdam: plain momentum until the second moment can be trusted, Adam with a rectified rate from then on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, learning_rate, sign, steps_taken


class RAdamRule(Rule):
    """m <- beta1 m + (1 - beta1) u; with rho_t the length of the approximated moving average::

    rho_t > 5:  delta = -lr r_t sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps), eps outside the root
    else:       delta = -lr / (1 - beta1^t) * m
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
        correction = 1 - beta2**step
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * step * (beta2**step) / correction
        scale: Tensor | float = -float(lr / (1 - beta1**step))
        if rho > 5.0:
            rectified = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
            value = scale * float(rectified) * float(correction**0.5)
            scale = self.root(state["exp_avg_sq"]).add_(float(group["eps"])).reciprocal_().mul_(value)
        decoupled = group.get("decoupled_weight_decay", False)
        return Linear(
            scale,
            carry=beta1,
            intake=1.0 - beta1,
            momentum_weight=1.0,
            gradient_weight=0.0,
            sign=sign(group),
            coupled=0.0 if decoupled else decay,
            decoupled=float(lr * decay) if decoupled else 0.0,
        )
