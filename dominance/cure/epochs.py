"""When an epoch of the script is over, for methods that average over epochs."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from torch.utils.data import DataLoader

import dominance.optim
from dominance.benchmarks.train.method_names import Method
from dominance.cure.choice import FLAG
from dominance.cure.refused import Refused
from dominance.optim.engine.combiner import Combiner
from dominance.record.patches import replace


class Epochs:
    """An epoch is over when the DataLoader that the first step came from begins again, or after so many steps.

    Args:
        steps: that number; None: go by the DataLoader.
        over: is called at the end of each epoch.
    """

    def __init__(self, steps: int | None, over: Callable[[], None]) -> None:
        self._every, self._over = steps, over
        self._last: weakref.ref[Any] | None = None
        self._training: weakref.ref[Any] | None = None
        self._steps = 0

    def install(self) -> list[Callable[[], None]]:
        """Look at DataLoaders from now on; returns what ends that."""
        return [replace(DataLoader, "__iter__", self._begins)]

    def _begins(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def begins(loader: Any) -> Any:
            if self._training is not None and self._training() is loader and self._steps and self._every is None:
                self._steps = 0
                self._over()
            self._last = weakref.ref(loader)
            return original(loader)

        return begins

    def stepped(self) -> None:
        """A training step was taken."""
        if self._training is None:
            self._training = self._last
        self._steps += 1
        if self._every is not None and self._steps == self._every:
            self._steps = 0
            self._over()

    def check(self, method: Method) -> None:
        """Whether epochs are seen, where the method asks for them.

        Raises:
            Refused: they are not.
        """
        combiner = None if method.combiner is None else getattr(dominance.optim, method.combiner)
        if combiner is None or combiner.epoch is Combiner.epoch:
            return
        if self._every is None and self._last is None:
            raise Refused(
                f"{method.name} averages the losses over epochs, and no DataLoader was seen; say after how many steps"
                f" an epoch is over: {FLAG} epoch=100"
            )
