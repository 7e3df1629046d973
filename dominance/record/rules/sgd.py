"""torch.optim.SGD: momentum, Nesterov, dampening, coupled weight decay."""

from __future__ import annotations

from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, learning_rate, sign


class SGDRule(Rule):
    """b <- mu b + (1 - dampening) u, or b <- u on the first step; delta = -lr b, with Nesterov -lr (u + mu b)."""

    picks = True

    def remembers(self, group: Group) -> bool:
        return bool(group["momentum"] != 0)

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        buffer: Tensor | None = self.state(parameter).get("momentum_buffer")
        return buffer

    def moves_rows(self, group: Group) -> bool:
        return bool(group["momentum"] == 0 and group["weight_decay"] == 0)

    def before(self, parameter: Tensor, group: Group) -> bool:
        """Whether this is the first step with momentum."""
        return self.memory(parameter, group) is None

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: bool) -> Linear:
        scale, momentum, decay = -float(learning_rate(group)), float(group["momentum"]), float(group["weight_decay"])
        if momentum == 0:
            return Linear(scale, sign=sign(group), coupled=decay)
        return Linear(
            scale,
            carry=momentum,
            intake=1.0 if before else 1.0 - float(group["dampening"]),
            momentum_weight=momentum if group["nesterov"] else 1.0,
            gradient_weight=1.0 if group["nesterov"] else 0.0,
            sign=sign(group),
            coupled=decay,
        )
