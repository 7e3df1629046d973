"""What the script has put in place to look at its own computation does not see ours."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch.utils._device import DeviceContext

from dominance.record.guest import torch_internals as internals


def observed() -> bool:
    """Whether there is anything of the script's that sees operators."""
    return bool(internals.function_modes() or internals.dispatch_modes() or internals.profiler_enabled())


@contextmanager
def unseen() -> Iterator[None]:
    """No dispatch or function mode of the script, and no profiler, sees the operators inside.

    A FLOP counter, a logger of operators or a profiler then counts what the script computes. The default device stays:
    it is a function mode too, but says where tensors are made.
    """
    if not observed():
        yield
        return
    with ExitStack() as stack:
        if internals.function_modes():
            stack.enter_context(_no_function_modes())
        if internals.dispatch_modes():
            stack.enter_context(internals.without_dispatch_modes())
        if internals.profiler_enabled():
            stack.enter_context(_unprofiled())
        yield


@contextmanager
def unheard() -> Iterator[None]:
    """Code of the script that runs inside prints, logs and warns of nothing: in its own pass it will, as without us."""
    ignore: Any = ("ignore", None, Warning, None, 0)
    always = torch.is_warn_always_enabled()
    with ExitStack() as stack:
        # Not catch_warnings: it makes Python forget which warnings the script has been shown.
        warnings.filters.insert(0, ignore)  # type: ignore[attr-defined]
        stack.callback(_take_out, ignore)
        # A warning that torch gives once only would be used up.
        torch.set_warn_always(True)
        stack.callback(torch.set_warn_always, always)
        stack.enter_context(_unlogged())
        stack.enter_context(redirect_stdout(_Nowhere()))
        stack.enter_context(redirect_stderr(_Nowhere()))
        yield


@contextmanager
def _unlogged() -> Iterator[None]:
    """No logger is enabled.

    ``logging.disable`` has every logger forget what it is enabled for, of which there are hundreds. Where none has a
    way of its own to know that, none is asked inside.
    """
    manager, before = logging.root.manager, logging.root.manager.disable
    if _asks_by_itself(logging.Logger):
        logging.disable(sys.maxsize)
        try:
            yield
        finally:
            logging.disable(before)
        return
    asked = logging.Logger.isEnabledFor
    manager.disable = sys.maxsize
    setattr(logging.Logger, "isEnabledFor", _never)  # noqa: B010  to a checker a method is no attribute
    try:
        yield
    finally:
        setattr(logging.Logger, "isEnabledFor", asked)  # noqa: B010
        manager.disable = before


def _asks_by_itself(kind: type[logging.Logger]) -> bool:
    """Whether any class of loggers below this one has its own way to know what it is enabled for."""
    return any("isEnabledFor" in vars(each) or _asks_by_itself(each) for each in kind.__subclasses__())


def _never(logger: logging.Logger, level: int) -> bool:
    return False


@contextmanager
def without_anomaly_mode() -> Iterator[None]:
    """A pass inside is not checked for NaN: that is for the script's own to say."""
    mode, check = internals.anomaly_enabled(), internals.anomaly_checks_nan()
    if not mode:
        yield
        return
    internals.set_anomaly(False)
    try:
        yield
    finally:
        internals.set_anomaly(mode, check)


@contextmanager
def _no_function_modes() -> Iterator[None]:
    popped: list[Any] = [internals.pop_function_mode() for _ in range(internals.function_modes())]
    kept = [mode for mode in popped if isinstance(mode, DeviceContext)]
    try:
        for mode in reversed(kept):
            internals.push_function_mode(mode)
        yield
    finally:
        for _ in kept:
            internals.pop_function_mode()
        for mode in reversed(popped):
            internals.push_function_mode(mode)


@contextmanager
def _unprofiled() -> Iterator[None]:
    internals.record_functions(False)
    try:
        yield
    finally:
        internals.record_functions(True)


def _take_out(ignore: Any) -> None:
    filters: Any = warnings.filters
    for place, entry in enumerate(filters):
        if entry is ignore:
            del filters[place]
            return


class _Nowhere(io.TextIOBase):
    """Takes what is printed, and drops it."""

    def write(self, text: str, /) -> int:
        return len(text)

    def writable(self) -> bool:
        return True
