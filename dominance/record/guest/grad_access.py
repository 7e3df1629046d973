"""Hears of every touch of the ``.grad`` of some tensors: a step taken by hand reads it, and then it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from dominance.record.guest.torch_internals import not_compiled

Touched = Callable[[Tensor], None]

_GRAD: Any = torch.Tensor.grad
"""The attribute as torch has it."""


def grad_of(tensor: Tensor) -> Tensor | None:
    """Its gradient; nobody hears of it."""
    found: Tensor | None = _GRAD.__get__(tensor)
    return found


class GradAccess:
    """Puts a property in the place of ``Tensor.grad`` from the first tensor that is watched; until then there is none.

    Args:
        patch: replaces an attribute until everything is taken away, as ``Hooks`` does.
        tell: calls a function so that no fault of it reaches the script.
    """

    def __init__(self, patch: Callable[[Any, str, Callable[[Any], Any]], None], tell: Callable[..., Any]) -> None:
        self._patch = patch
        self._tell = tell
        self._watched: dict[int, Touched] = {}
        self._there = False

    def watch(self, tensors: Iterable[Tensor], touched: Touched) -> None:
        """Call ``touched`` with one of these before its ``.grad`` is read, set or deleted in Python.

        The tensors have to be kept alive by whoever watches.
        """
        self._watched.update((id(tensor), touched) for tensor in tensors)
        if self._watched and not self._there:
            self._there = True
            self._patch(torch.Tensor, "grad", self._property)

    def rest(self, tensors: Iterable[Tensor]) -> None:
        """StepRecorder these no longer."""
        for tensor in tensors:
            self._watched.pop(id(tensor), None)

    def _property(self, original: Any) -> property:
        """In the place of the attribute. A compiler does not look into it, and reads what lies there as without us."""
        watched = self._watched

        def read(tensor: Tensor) -> Tensor | None:
            if id(tensor) in watched:
                self._tell(watched[id(tensor)], tensor)
            found: Tensor | None = original.__get__(tensor)
            return found

        def write(tensor: Tensor, value: Tensor | None) -> None:
            if id(tensor) in watched:
                self._tell(watched[id(tensor)], tensor)
            original.__set__(tensor, value)

        def delete(tensor: Tensor) -> None:
            if id(tensor) in watched:
                self._tell(watched[id(tensor)], tensor)
            original.__delete__(tensor)

        return property(not_compiled(read), not_compiled(write), not_compiled(delete), original.__doc__)
