"""torch.optim.Adafactor: linear given its factored second moment and its clipping factor (one number a parameter)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.linear import Group, Linear, Rule, full, learning_rate, sign, steps_taken


class AdafactorRule(Rule):
    """delta = -alpha / max(1, RMS(U) / d) * U - lr weight_decay theta, with U = u / max(sqrt(V), eps1) and

    alpha = max(eps2, RMS(theta)) min(lr, 1 / sqrt(t)), theta as before the step. V is the outer product of the row
    and column moments over the mean row moment, or the second moment itself for a vector.
    """

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state, lr, gradient = self.state(parameter), learning_rate(group), self.fed
        assert gradient is not None
        eps1, eps2 = group["eps"]
        eps1 = torch.finfo(_first_dtype(group)).eps if eps1 is None else eps1
        step = steps_taken(state, as_tensor=False)
        rate = float(min(lr, 1 / step**0.5)) * max(eps2, theta.norm(2).item() / theta.numel() ** 0.5)
        if gradient.dim() > 1:
            row = full(state["row_var"])
            second = (row @ full(state["col_var"])).div_(row.mean(dim=-2, keepdim=True).clamp_(min=eps1))
        else:
            second = full(state["variance"]).clone()
        inverse = second.clamp_(min=eps1 * eps1).rsqrt_()
        size = (inverse * full(gradient)).norm(2).item() / inverse.numel() ** 0.5
        return Linear(
            inverse.mul_(-rate / max(1.0, size / group["d"])),
            sign=sign(group),
            decoupled=float(lr * group["weight_decay"]),
        )


def _first_dtype(group: Group) -> torch.dtype:
    """eps1 defaults to the precision of the first parameter that the group steps, and stays so for the others."""
    dtype: torch.dtype = next((p.dtype for p in group["params"] if p.grad is not None), group["params"][0].dtype)
    return dtype
