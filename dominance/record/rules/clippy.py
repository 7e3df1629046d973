"""ClippyAdam of ``dominance.optim``: Adam's step times one factor a tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.optim.optimizers.clippy import clipping
from dominance.record.rules.adam import AdamRule
from dominance.record.rules.linear import Group, Linear


class ClippyRule(AdamRule):
    """delta = -sigma * lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps), with sigma <= 1 for each tensor.

    sigma depends on the whole step, so it belongs to the scale: every part of the step is scaled by the same factor.
    """

    picks = False

    def linear(self, parameter: Tensor, group: Group, theta: Tensor, before: Any) -> Linear:
        step = super().linear(parameter, {**group, "amsgrad": False}, theta, before)
        moved = theta * (1 - step.decoupled) if step.decoupled else theta
        update = self.state(parameter)["exp_avg"] * step.scale
        sigma = clipping(update, moved, group["lambda_rel"], group["lambda_abs"])
        assert isinstance(step.scale, Tensor)
        return dataclasses.replace(step, scale=torch.mul(step.scale, sigma, out=step.scale))

    def several(self, asked: Sequence[tuple[Tensor, Group]]) -> list[Linear] | None:
        return None  # each tensor has a factor of its own, which takes the parameter
