"""Processes that the script starts by torch.multiprocessing and that may train, unrecorded."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.distributed as dist

from dominance.record.guest.parallel import Patch, Tell


@dataclass
class Starts:
    """Hears of them before they train.

    Args:
        patch: replaces an attribute until everything is taken away, as ``Hooks`` does.
        tell: calls a function so that no fault of it reaches the script.
    """

    patch: Patch
    tell: Tell
    heard: Callable[[bool], None] | None = None
    """Called where the script starts some in which nobody records; whether they are forked."""
    _pid: int = field(default_factory=os.getpid)
    _said: bool = False
    """Whether it was said of forked processes."""

    def install(self) -> None:
        """Hear of them from now on; where torch has no distributed package, none trains with another."""
        if not dist.is_available():
            return
        self.patch(sys.modules["torch.distributed.distributed_c10d"], "_update_default_pg", self._grouped)
        for module in ("torch.multiprocessing.spawn", "torch.multiprocessing"):
            self.patch(sys.modules[module], "start_processes", self._starting)

    def _starting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(original)

        @functools.wraps(original)
        def start_processes(*args: Any, **kwargs: Any) -> Any:
            self.tell(self._starts, signature, args, kwargs)
            return original(*args, **kwargs)

        return start_processes

    def _starts(self, signature: inspect.Signature, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        asked = signature.bind_partial(*args, **kwargs)
        asked.apply_defaults()
        forks = asked.arguments.get("start_method") == "fork"
        if self.heard is not None:
            self.heard(forks)
            self._said = forks

    def _grouped(self, original: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(original)
        def update(group: Any) -> None:
            original(group)
            if os.getpid() != self._pid and group is not None and not self._said and self.heard is not None:
                # A child that the script has forked, which begins to train together with others.
                self._said = True
                self.tell(self.heard, True)

        return update
