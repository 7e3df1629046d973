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
from torch.overrides import _pop_mode, _push_mode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _disable_current_modes


@contextmanager
def unseen() -> Iterator[None]:
    """No dispatch or function mode of the script, and no profiler, sees the operators inside.

    A FLOP counter, a logger of operators or a profiler then counts what the script computes. The default device stays:
    it is a function mode too, but says where tensors are made.
    """
    with ExitStack() as stack:
        if torch._C._len_torch_function_stack():
            stack.enter_context(_no_function_modes())
        if torch._C._len_torch_dispatch_stack():
            stack.enter_context(_disable_current_modes())
        if torch._C._autograd._profiler_enabled():
            stack.enter_context(_unprofiled())
        yield


@contextmanager
def unheard() -> Iterator[None]:
    """Code of the script that runs inside prints, logs and warns of nothing: in its own pass it will, as without us."""
    ignore: Any = ("ignore", None, Warning, None, 0)
    always = torch.is_warn_always_enabled()
    disabled = logging.root.manager.disable
    with ExitStack() as stack:
        # Not catch_warnings: it makes Python forget which warnings the script has been shown.
        warnings.filters.insert(0, ignore)  # type: ignore[attr-defined]
        stack.callback(_take_out, ignore)
        # A warning that torch gives once only would be used up.
        torch.set_warn_always(True)
        stack.callback(torch.set_warn_always, always)
        logging.disable(sys.maxsize)
        stack.callback(logging.disable, disabled)
        stack.enter_context(redirect_stdout(_Nowhere()))
        stack.enter_context(redirect_stderr(_Nowhere()))
        yield


@contextmanager
def without_anomaly_mode() -> Iterator[None]:
    """A pass inside is not checked for NaN: that is for the script's own to say."""
    mode, check = torch._C.is_anomaly_enabled(), torch._C.is_anomaly_check_nan_enabled()
    if not mode:
        yield
        return
    torch._C.set_anomaly_enabled(False)
    try:
        yield
    finally:
        torch._C.set_anomaly_enabled(mode, check)


@contextmanager
def _no_function_modes() -> Iterator[None]:
    popped: list[Any] = [_pop_mode() for _ in range(torch._C._len_torch_function_stack())]  # type: ignore[no-untyped-call]
    kept = [mode for mode in popped if isinstance(mode, DeviceContext)]
    try:
        for mode in reversed(kept):
            _push_mode(mode)  # type: ignore[no-untyped-call]
        yield
    finally:
        for _ in kept:
            _pop_mode()  # type: ignore[no-untyped-call]
        for mode in reversed(popped):
            _push_mode(mode)  # type: ignore[no-untyped-call]


@contextmanager
def _unprofiled() -> Iterator[None]:
    enable: Any = getattr(torch.autograd, "_enable_record_function")  # noqa: B009  not exported to checkers
    enable(False)
    try:
        yield
    finally:
        enable(True)


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
