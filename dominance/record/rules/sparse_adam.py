"""torch.optim.SparseAdam: only the rows that the gradient touches move and are remembered anew."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.first_moment import FirstMomentRule
from dominance.record.rules.linear import Group, Linear, learning_rate, sign, steps_taken


class SparseAdamRule(FirstMomentRule):
    """On touched rows m <- beta1 m + (1 - beta1) u, delta = -lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).

    t counts the parameter's steps, not the row's; untouched rows keep m and stand still.
    """

    def moves_rows(self, group: Group) -> bool:
        return True

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr = self.state(parameter), float(learning_rate(group))
        beta1, beta2 = map(float, group["betas"])
        step = steps_taken(state, as_tensor=False)
        touched = self._touched(theta)
        value = -lr * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        return Linear(
            self.root(state["exp_avg_sq"]).add_(float(group["eps"])).reciprocal_().mul_(touched).mul_(value),
            carry=1.0 - (1.0 - beta1) * touched,
            intake=(1.0 - beta1) * touched,
            momentum_weight=1.0,
            gradient_weight=0.0,
            sign=sign(group),
        )

    def _touched(self, theta: Tensor) -> Tensor:
        """1 on the entries that the sparse gradient holds, 0 elsewhere; broadcasts to the parameter."""
        gradient = self.fed
        assert gradient is not None
        if not gradient.is_sparse:  # known by its value alone: a row that is all zero counts as not touched
            rows = gradient.reshape(len(gradient), -1).any(dim=1).to(theta.dtype)
            return rows.reshape(-1, *[1] * (theta.dim() - 1))
        if self.rows is not None:
            held = torch.isin(self.rows, gradient._indices()[0]).to(theta.dtype)
            return held.reshape(-1, *[1] * (theta.dim() - 1))
        dims = gradient.sparse_dim()
        touched = theta.new_zeros(theta.shape[:dims] + (1,) * (theta.dim() - dims))
        touched[tuple(gradient._indices())] = 1.0
        return touched
