"""Optimizers of which it is known what their steps between bursts are."""

from __future__ import annotations

import weakref

from torch import Tensor
from torch.optim import Optimizer


class Resting:
    """Optimizers that were seen to take a step of the model's training that is not recorded."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Optimizer], list[Tensor], weakref.ref[Optimizer]]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, optimizer: Optimizer, parameters: list[Tensor], by: Optimizer | None = None) -> None:
        """It takes such a step, of these parameters of the model; ``by``: the one that steps in its place."""
        self._known[id(optimizer)] = (weakref.ref(optimizer), parameters, weakref.ref(optimizer if by is None else by))

    def parameters(self, optimizer: Optimizer) -> list[Tensor] | None:
        """Those that it steps; None where it is not known."""
        reference, parameters, _ = self._known.get(id(optimizer), (None, None, None))
        return parameters if reference is not None and reference() is optimizer else None

    def taker(self, optimizer: Optimizer) -> Optimizer | None:
        """The one that takes its steps, itself as a rule; None where that is gone."""
        *_, by = self._known.get(id(optimizer), (None, None, None))
        return None if by is None else by()

    def clear(self) -> None:
        """A step is recorded: what is known may not be so after it."""
        self._known.clear()
