"""Who works for one optimizer, and does not keep it alive."""

from __future__ import annotations

import weakref

from torch.optim import Optimizer


class OfOptimizer:
    """Holds an optimizer of the script, which may let it go.

    Args:
        keep: keep it alive all the same.
    """

    def __init__(self, optimizer: Optimizer, *, keep: bool = False) -> None:
        self._reference = weakref.ref(optimizer)
        self._kept_alive = optimizer if keep else None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, as long as it is there."""
        optimizer = self._reference()
        assert optimizer is not None
        return optimizer
