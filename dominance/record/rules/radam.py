"""torch.optim.RAdam: plain momentum until the second moment can be trusted, Adam with a rectified rate from then on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dominance.record.rules.first_moment import FirstMomentRule
from dominance.record.rules.linear import Group, Linear, learning_rate, steps_taken


class RAdamRule(FirstMomentRule):
    """m <- beta1 m + (1 - beta1) u; with rho_t the length of the approximated moving average::

    rho_t > 5:  delta = -lr r_t sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps), eps outside the root
    else:       delta = -lr / (1 - beta1^t) * m
    """

    picks = True

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr = self.state(parameter), learning_rate(group)
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
        return Linear(scale, **self.terms(group, decoupled=group.get("decoupled_weight_decay", False)))
