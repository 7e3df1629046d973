"""torch.optim.ASGD: its averages do not feed back into the step."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, learning_rate, sign


class ASGDRule(Rule):
    """delta = -eta u - lambd eta theta, with the step size eta that the previous step left behind."""

    def before(self, parameter: Tensor, group: Group) -> float:
        """eta of the coming step; the optimizer overwrites it with the next one's."""
        eta = self.state(parameter).get("eta")
        if eta is None:  # the first step rounds lr to the dtype of the optimizer's scalars
            dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
            eta = torch.tensor(float(learning_rate(group)), dtype=dtype)
        return float(eta)

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: float) -> Linear:
        return Linear(
            -before,
            sign=sign(group),
            coupled=float(group["weight_decay"]),
            decoupled=float(group["lambd"]) * before,
        )
