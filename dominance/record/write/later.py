"""Numbers on devices that a row needs: read together once all of them are under way, so that there is one wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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
        read = iter(_read([tensor for tensors, _ in waiting for tensor in tensors]))
        for tensors, then in waiting:
            then([next(read) for _ in tensors])


def _read(tensors: Sequence[Tensor]) -> list[npt.NDArray[Any]]:
    """The numbers of all: one copy from each device for each dtype, of which the first one waits."""
    found: list[npt.NDArray[Any]] = [np.empty(0)] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype), []).append(i)
    for places in groups.values():
        flat = torch.cat([tensors[i].detach().reshape(-1) for i in places]).cpu().numpy()
        ends = np.cumsum([tensors[i].numel() for i in places])
        for i, numbers in zip(places, np.split(flat, ends[:-1]), strict=True):
            found[i] = numbers.reshape(tensors[i].shape)
    return found
