"""What a method remembers, as ``torch.save`` likes it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def restored(kept: Any, value: Any) -> Any:
    """What takes the place of ``kept``: generators and parameters stay the objects they are, with other content."""
    if isinstance(kept, torch.Generator):
        kept.set_state(value)
        return kept
    if isinstance(kept, torch.nn.Parameter):
        with torch.no_grad():
            kept.copy_(value)
        return kept
    if isinstance(kept, dict) and any(isinstance(item, torch.nn.Parameter) for item in kept.values()):
        if kept.keys() != value.keys():
            raise ValueError(f"the state is of the tasks {sorted(value)}, not of {sorted(kept)}")
        return {name: restored(item, value[name]) for name, item in kept.items()}
    return plain(value)


def plain(value: Any) -> Any:
    """A copy made of what ``torch.load(weights_only=True)`` accepts."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value
