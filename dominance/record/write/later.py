"""Numbers on devices that a row needs: read with whatever is read next of devices, at no wait of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from dominance.record import answers
from dominance.record.answers import Arrays


class Later:
    """Tensors, and what is to be done with their numbers when these are there."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Sequence[Tensor], Callable[[Arrays], None]]] = []

    def add(self, tensors: Sequence[Tensor], then: Callable[[Arrays], None]) -> None:
        """``then`` gets the numbers of these tensors, in their shapes, in ``settle`` or before; they stay as they are
        until then."""
        self._waiting.append((tensors, then))
        answers.read_with_next(self)

    @property
    def tensors(self) -> list[Tensor]:
        """What is waited for."""
        return [tensor for tensors, _ in self._waiting for tensor in tensors]

    def give(self, read: Arrays) -> None:
        """Do what is to be done with the numbers of ``tensors``, in order."""
        waiting, self._waiting = self._waiting, []
        numbers = iter(read)
        for tensors, then in waiting:
            then([next(numbers) for _ in tensors])

    def settle(self) -> None:
        """Read what nobody has read since."""
        if self._waiting:
            self.give(answers.read(self.tensors))
