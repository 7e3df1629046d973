"""Which class of torch.optim an optimizer is, as far as its step goes."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer


def undecorated_step(optimizer_class: type[Optimizer]) -> Any:
    """The class's own ``step``, without the wrapper that torch puts around it to run hooks."""
    step: Any = optimizer_class.step
    while getattr(step, "hooked", False) and hasattr(step, "__wrapped__"):
        step = step.__wrapped__
    return step


def known_class(optimizer: Optimizer) -> str | None:
    """Name of the torch.optim class whose ``step`` this optimizer runs; None when it runs one of its own."""
    for base in type(optimizer).__mro__:
        if base is not Optimizer and getattr(torch.optim, base.__name__, None) is base:
            return base.__name__ if undecorated_step(type(optimizer)) is undecorated_step(base) else None
    return None
