"""Numbers on devices that a row needs: read together once all of them are under way, so that there is one wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
from torch import Tensor

from dominance.record.answers import read

Arrays = Sequence[npt.NDArray[Any]]


class Later:
    """Tensors, and what is to be done with their numbers when these are there."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Sequence[Tensor], Callable[[Arrays], None]]] = []

    def add(self, tensors: Sequence[Tensor], then: Callable[[Arrays], None]) -> None:
        """``then`` gets the numbers of these tensors, in their shapes, in ``settle``; they stay as they are."""
        self._waiting.append((tensors, then))

    def settle(self) -> None:
        """Read everything that was added, and do what is to be done with it, in order."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        numbers = iter(read([tensor for tensors, _ in waiting for tensor in tensors]))
        for tensors, then in waiting:
            then([next(numbers) for _ in tensors])
