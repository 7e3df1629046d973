"""Optimizers of which it is known what their steps between bursts are."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer


class Resting:
    """Optimizers that were seen to take a step of the model's training that is not recorded."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Optimizer], list[Tensor], weakref.ref[Optimizer]]] = {}
        self.way: Sequence[int] = ()
        """By which of its inputs, node by node, the last loss led to a leaf."""
        self.leaf: Tensor | None = None
        """That leaf, a parameter that the model owns; None: there has been none."""

    def __len__(self) -> int:
        return len(self._known)

    def add(self, optimizer: Optimizer, parameters: list[Tensor], by: Optimizer | None = None) -> None:
        """It takes such a step, of these parameters of the model; ``by``: the one that steps in its place."""
        self._known[id(optimizer)] = (weakref.ref(optimizer), parameters, weakref.ref(optimizer if by is None else by))

    def known(self, optimizer: Optimizer) -> tuple[list[Tensor], Optimizer] | None:
        """The parameters that it steps, and who takes its steps, itself as a rule; None where it is not known, or that
        is gone."""
        found = self._known.get(id(optimizer))
        if found is None:
            return None
        reference, parameters, by = found
        taker = by()
        return (parameters, taker) if taker is not None and reference() is optimizer else None

    def clear(self) -> None:
        """A step is recorded: what is known may not be so after it."""
        self._known.clear()
        self.way, self.leaf = (), None
