"""Passes of our own: the script's gradient hooks are silent in them, and what they add to ``.grad`` is taken out."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from dominance.record.guest import torch_internals as internals


class Silence:
    """Keeps the script's gradient hooks quiet in passes of our own; outlives them inside the hooks, and holds nothing.

    A hook that runs in the autograd engine's own threads, as on a GPU, belongs to the pass that is going on.
    """

    def __init__(self) -> None:
        self.thread: int | None = None
        self.calls = 0
        self.known = 0
        """Hooks of the script that have been met."""
        self.running = 0
        """Hooks of the script that are running now."""

    def over(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """The hook, not called while silent."""
        # Those of FSDP2 gather memory and change no gradient.
        counted = not str(getattr(hook, "__module__", "")).startswith("torch.distributed.fsdp.")
        self.known += 1

        @functools.wraps(hook)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.thread is not None and self._here():
                self.calls += counted
                return None
            self.running += 1
            try:
                return hook(*args, **kwargs)
            finally:
                self.running -= 1

        return call

    def _here(self) -> bool:
        here = threading.get_ident()
        return here == self.thread or here not in threading._active  # type: ignore[attr-defined]


def traced() -> bool:
    """Whether a compiler is at work, which goes through the graph with tensors that stand for others."""
    return internals.TracingContext.try_get() is not None


def batched(gradients: Iterable[Any]) -> bool:
    """Whether a pass runs inside a vmap, which stands for many: torch.func's, or that of ``is_grads_batched``."""
    if internals.functorch_level() is not None:
        return True
    for gradient in gradients:
        if isinstance(gradient, Tensor):
            keys = internals.dispatch_keys(gradient)
            number = keys.raw_repr()
            if number not in _BATCHED:
                # The key of the latter has no name in Python.
                _BATCHED[number] = "Batched" in repr(keys)
            if _BATCHED[number]:
                return True
    return False


_BATCHED: dict[int, bool] = {}
"""Of sets of dispatch keys that have come up, by number, whether they are those of a batched tensor: to write a set out
takes longer than all else that is asked of a pass between bursts."""


class Leaves:
    """Leaves whose ``.grad`` a pass of ours fills: it is empty when the pass comes, and as it was afterwards."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._hooks: list[tuple[dict[Any, Any], dict[Any, Any]]] = []

    def hold(self, leaves: Iterable[Tensor]) -> None:
        """Put the gradients of these aside, and the hooks that wait for them."""
        for leaf in leaves:
            if id(leaf) in self._held:
                continue
            self._held[id(leaf)] = (leaf, leaf.grad)
            leaf.grad = None
            # Emptied and filled again: autograd keeps the dicts themselves.
            for hooks in (leaf._post_accumulate_grad_hooks, leaf._backward_hooks):
                if hooks:
                    self._hooks.append((hooks, dict(hooks)))
                    hooks.clear()

    def put_back(self) -> None:
        """Everything as it was."""
        for leaf, gradient in self._held.values():
            leaf.grad = gradient
        for hooks, before in self._hooks:
            hooks.update(before)


_gathering: list[Leaves] = []


@contextmanager
def gathering() -> Iterator[Leaves]:
    """Passes of ours inside may add to ``.grad``; what is held is put back."""
    leaves = Leaves()
    _gathering.append(leaves)
    try:
        yield leaves
    finally:
        _gathering.remove(leaves)
        leaves.put_back()


def gathered_by() -> Leaves | None:
    """Who puts back what a pass of ours adds to ``.grad``; None: nobody, so that none may."""
    return _gathering[-1] if _gathering else None
