"""Leave no trace: random states, buffers and leaf hooks are the same after our own passes as before."""

from __future__ import annotations

import io
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def undisturbed(
    modules: Iterable[nn.Module], parameters: Iterable[Tensor], retaining: Iterable[Tensor] = ()
) -> Iterator[None]:
    """Run passes of our own inside: what they change is put back, after an exception too.

    Code of the script can run in a backward pass: a checkpointed forward runs again, and batch norm with it; so does
    the backward of a function of its own. Guarded are the random states of torch (CPU, and CUDA where it is in use),
    Python and numpy; gradients kept by ``retain_grad``; the buffers and plain attributes of the modules; what is
    printed and warned of; and the hooks on leaf parameters, which do not fire inside.
    """
    restore = _random_states()
    warn = warnings.warn
    tree = list({id(inner): inner for module in modules for inner in module.modules()}.values())
    buffers = {id(b): b for module in tree for b in module._buffers.values() if b is not None}.values()
    kept = [(buffer, buffer.detach().clone()) for buffer in buffers if not expanded(buffer)]
    assigned = [(module._buffers, dict(module._buffers)) for module in tree]
    attributes = [(module, dict(module.__dict__)) for module in tree]
    retained = [(tensor, tensor.grad) for tensor in retaining]
    hooks = [(held, dict(held)) for held in map(_leaf_hooks, parameters) if held]
    for held, _ in hooks:
        held.clear()
    try:
        # Not catch_warnings: it makes Python forget which warnings the script has been shown.
        warnings.warn = _no_warning
        with redirect_stdout(_Nowhere()):
            yield
    finally:
        warnings.warn = warn
        for held, before in hooks:
            held.update(before)
        for tensor, gradient in retained:
            # Not added to in place: each pass puts a new tensor there.
            tensor.grad = gradient
        for module, values in attributes:
            module.__dict__.update(values)
        for held_buffers, names in assigned:
            held_buffers.update(names)
        for buffer, value in kept:
            # Through .data, so that the restored buffer does not look changed to a backward pass that saved it. All of
            # them: batch norm updates its statistics without counting up their version.
            buffer.data.copy_(value)
        for put_back in restore:
            put_back()


def expanded(buffer: Tensor) -> bool:
    """Whether one number stands for several entries: torch itself refuses to write to such a tensor."""
    if buffer.layout is not torch.strided:
        return False
    return any(stride == 0 and size > 1 for stride, size in zip(buffer.stride(), buffer.shape, strict=True))


def _no_warning(*args: Any, **kwargs: Any) -> None:
    """Stands in for warnings.warn: what the script would be warned of, its own pass will say."""


class _Nowhere(io.TextIOBase):
    """Takes what is printed, and drops it."""

    def write(self, text: str, /) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


def _leaf_hooks(parameter: Tensor) -> dict[int, Any] | None:
    hooks: dict[int, Any] | None = parameter._backward_hooks
    return hooks


def _random_states() -> list[Callable[[], object]]:
    cpu = torch.get_rng_state()
    python = random.getstate()
    restore: list[Callable[[], object]] = [lambda: torch.set_rng_state(cpu), lambda: random.setstate(python)]
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        cuda = torch.cuda.get_rng_state_all()
        restore.append(lambda: torch.cuda.set_rng_state_all(cuda))
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        state = numpy_random.get_state(legacy=False)
        restore.append(lambda: numpy_random.set_state(state))
    return restore
