"""What Adam and its kin have in common: a moving average of gradients, ``exp_avg``."""

from __future__ import annotations

from torch import Tensor

from dominance.record.rules.linear import Group, Rule, learning_rate, sign


class FirstMomentRule(Rule):
    """m <- beta1 m + (1 - beta1) u, and a step that goes by m."""

    def remembers(self, group: Group) -> bool:
        return bool(group["betas"][0] > 0)

    def memory(self, parameter: Tensor, group: Group) -> Tensor | None:
        return self.state(parameter).get("exp_avg")

    def terms(self, group: Group, *, decoupled: bool = False) -> dict[str, float]:
        """Of the ``Linear`` of a step by m alone, all but the scale; the weight decay in u, or decoupled from it."""
        beta1, decay = float(group["betas"][0]), float(group["weight_decay"])
        return {
            "carry": beta1,
            "intake": 1.0 - beta1,
            "momentum_weight": 1.0,
            "gradient_weight": 0.0,
            "sign": sign(group),
            "coupled": 0.0 if decoupled else decay,
            "decoupled": float(learning_rate(group) * decay) if decoupled else 0.0,
        }
