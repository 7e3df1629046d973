"""Optimizers of which it is known what their steps between bursts are."""

from __future__ import annotations

import weakref

from torch import Tensor
from torch.optim import Optimizer


class Resting:
    """Optimizers that were seen to take a step of the model's training that is not recorded."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Optimizer], list[Tensor]]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, optimizer: Optimizer, parameters: list[Tensor]) -> None:
        """It takes such a step, of these parameters of the model."""
        self._known[id(optimizer)] = (weakref.ref(optimizer), parameters)

    def parameters(self, optimizer: Optimizer) -> list[Tensor] | None:
        """Those that it steps; None where it is not known."""
        reference, parameters = self._known.get(id(optimizer), (None, None))
        return parameters if reference is not None and reference() is optimizer else None

    def clear(self) -> None:
        """A step is recorded: what is known may not be so after it."""
        self._known.clear()
