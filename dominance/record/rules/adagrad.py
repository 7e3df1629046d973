"""torch.optim.Adagrad, for dense and sparse gradients."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, learning_rate, sign, steps_taken


class AdagradRule(Rule):
    """delta = -lr / (1 + (t - 1) lr_decay) * u / (sqrt(sum of squares) + eps), eps outside the root."""

    picks = True

    def moves_rows(self, group: Group) -> bool:
        return bool(group["weight_decay"] == 0)

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state = self.state(parameter)
        step = steps_taken(state, as_tensor=False)
        value = -float(learning_rate(group) / (1 + (step - 1) * group["lr_decay"]))
        scale = self.root(state["sum"]).add_(float(group["eps"])).reciprocal_().mul_(value)
        return Linear(scale, sign=sign(group), coupled=float(group["weight_decay"]))
