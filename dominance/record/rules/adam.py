"""torch.optim.Adam and AdamW, with and without AMSGrad."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.record.rules.first_moment import FirstMomentRule
from dominance.record.rules.linear import Group, Linear, learning_rate, steps_taken


class AdamRule(FirstMomentRule):
    """m <- beta1 m + (1 - beta1) u; delta = -lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps).

    eps stands outside the root; v is the second moment after the step, or its running maximum with AMSGrad. Weight
    decay enters u, or shrinks the parameter by lr * weight_decay when decoupled (AdamW).
    """

    picks = True

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        state = self.state(parameter)
        step = steps_taken(state, as_tensor=group.get("capturable", False) or group.get("differentiable", False))
        eps, value, made = self._form(group, step)
        return made(self.root(_second(state, group)).add_(eps).reciprocal_().mul_(value))

    def several(self, asked: Sequence[tuple[Tensor, Group]]) -> list[Linear] | None:
        states = [self.state(parameter) for parameter, _ in asked]
        seconds = [_second(state, group) for state, (_, group) in zip(states, asked, strict=True)]
        if any(each.dtype is not torch.float32 or each.layout is not torch.strided for each in seconds):
            return None
        if any(group.get(name, False) for _, group in asked for name in ("capturable", "differentiable")):
            return None
        steps = [steps_taken(state, as_tensor=False) for state in states]
        forms = {(id(group), step): self._form(group, step) for step, (_, group) in zip(steps, asked, strict=True)}
        each = [forms[id(group), step] for step, (_, group) in zip(steps, asked, strict=True)]
        if not all(isinstance(value, float) for _, value, _ in each):
            return None
        roots = torch._foreach_sqrt(seconds)
        torch._foreach_add_(roots, [eps for eps, _, _ in each])
        torch._foreach_reciprocal_(roots)
        torch._foreach_mul_(roots, [value for _, value, _ in each])
        return [made(root) for (_, _, made), root in zip(each, roots, strict=True)]

    def _form(self, group: Group, step: Any) -> tuple[float, Any, Callable[[Tensor], Linear]]:
        """What is added to the root of the second moment; what the reciprocal is multiplied by; the step by that."""
        beta1, beta2 = group["betas"]
        root = float((1 - beta2**step) ** 0.5)
        # value / (sqrt(v) / root + eps), with root moved to the numerator to save a pass over the parameter
        value = -float(learning_rate(group) / (1 - beta1**step)) * root
        # AdamW of older torch has no such entry: it was a class of its own
        decoupled = group.get("decoupled_weight_decay", isinstance(self.optimizer, torch.optim.AdamW))
        made = functools.partial(Linear, **self.terms(group, decoupled=decoupled))
        return float(group["eps"]) * root, value, made


def _second(state: Mapping[str, Any], group: Group) -> Tensor:
    second: Tensor = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return second
