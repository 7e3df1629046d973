"""Which passes are whose: the script's gradient hooks in ours, and passes that stand for many at once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Silence:
    """Keeps the script's gradient hooks quiet in passes of our own; outlives them inside the hooks, and holds nothing.

    A hook that runs in the autograd engine's own threads, as on a GPU, belongs to the pass that is going on.
    """

    def __init__(self) -> None:
        self.thread: int | None = None
        self.calls = 0

    def over(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """The hook, not called while silent."""

        @functools.wraps(hook)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.thread is not None and self._here():
                self.calls += 1
                return None
            return hook(*args, **kwargs)

        return call

    def _here(self) -> bool:
        here = threading.get_ident()
        return here == self.thread or here not in threading._active  # type: ignore[attr-defined]


def batched(gradients: Iterable[Any]) -> bool:
    """Whether a pass runs inside a vmap, which stands for many: torch.func's, or that of ``is_grads_batched``."""
    if torch._C._functorch.maybe_current_level() is not None:
        return True
    # The key of the latter has no name in Python.
    return any(isinstance(g, Tensor) and "Batched" in repr(torch._C._dispatch_keys(g)) for g in gradients)
