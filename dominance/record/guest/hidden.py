"""Optimizers whose steps are no training steps of the script: copies on which a step is tried."""

from __future__ import annotations

from torch.optim import Optimizer

_MARK = "_dominance_hidden"


def hide(optimizer: Optimizer) -> None:
    """Its steps are no training steps of the script, whatever they move."""
    optimizer.__dict__[_MARK] = True


def is_hidden(optimizer: Optimizer) -> bool:
    """Whether ``hide`` was called with it; global hooks see a copy when a subclass calls its parent's step."""
    return _MARK in optimizer.__dict__


def show(optimizer: Optimizer) -> None:
    """They are again."""
    del optimizer.__dict__[_MARK]
