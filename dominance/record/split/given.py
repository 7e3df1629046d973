"""What an optimizer was given: its hyper-parameters, before a schedule moves them."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

_MOST_GROUPS = 20
# Entries of a group that list its parameters.
_LISTS = ("params", "param_names")
_BASE = "initial_lr"
"""Where the schedulers of torch keep the learning rate that they start from; a warm-up has changed ``lr`` by then."""


def hyper_parameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Of each group, at most 20: what JSON can hold, with the learning rate that a scheduler found there.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    >>> warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1)
    >>> optimizer.param_groups[0]["lr"], hyper_parameters(optimizer)[0]["lr"]
    (0.05, 0.5)
    """
    found = []
    for group in getattr(optimizer, "param_groups", [])[:_MOST_GROUPS]:
        plain = {name: _plain(value) for name, value in group.items() if name not in _LISTS and _is_plain(value)}
        if _BASE in plain:
            plain["lr"] = plain.pop(_BASE)
        found.append(plain)
    return found


def _is_plain(value: Any) -> bool:
    """Whether a group's entry is a hyper-parameter; code and tensors of many numbers are none."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, Tensor):
        return value.numel() == 1
    return value is None or isinstance(value, (int, float, bool, str))


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, Tensor) else value
