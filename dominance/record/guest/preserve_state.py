"""Leave no trace: random states, buffers and leaf hooks are the same after our own passes as before."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dominance.errors import RecordingFailed
from dominance.record.guest.unseen import unheard, unseen, without_anomaly_mode

Piece = tuple[str, Callable[[], object]]
"""A part of the state in words, and what puts it back."""


@contextmanager
def undisturbed(
    modules: Iterable[nn.Module], parameters: Iterable[Tensor], retaining: Iterable[Tensor] = ()
) -> Iterator[None]:
    """Run passes of our own inside: what they change is put back, after an exception too.

    Code of the script can run in a backward pass: a checkpointed forward runs again, and batch norm with it; so does
    the backward of a function of its own. Guarded are the random states of torch (CPU, and CUDA where it is in use),
    Python and numpy; gradients kept by ``retain_grad``; the buffers and plain attributes of the modules; what is
    printed, logged and warned of; and the hooks on leaf parameters, which do not fire inside. Modes, profilers and
    anomaly mode of the script do not see the pass.

    Raises:
        RecordingFailed: some piece could not be put back; all others have been.
    """
    pieces = list(_pieces(modules, retaining))
    hooks = [(held, dict(held)) for held in map(_leaf_hooks, parameters) if held]
    pieces += [("the hooks on a parameter", partial(held.update, before)) for held, before in hooks]
    try:
        for held, _ in hooks:
            held.clear()
        with ExitStack() as stack:
            for context in (unseen, unheard, without_anomaly_mode):
                stack.enter_context(context())
            yield
    finally:
        _put_back(pieces)


def _put_back(pieces: list[Piece]) -> None:
    """Each piece on its own, whatever becomes of the others."""
    failed: list[str] = []
    interrupt: BaseException | None = None
    for what, put_back in reversed(pieces):
        try:
            put_back()
        except Exception as error:  # noqa: BLE001  it is told below, once everything else is back
            failed.append(f"{what} ({type(error).__name__}: {error})")
        except BaseException as error:  # noqa: BLE001  raised again, once everything is back
            interrupt = error
            put_back()
    if interrupt is not None:
        raise interrupt
    if failed:
        raise RecordingFailed(
            f"after a pass of the recorder, {'; '.join(failed)} could not be put back", fix="report this, please"
        )


def _pieces(modules: Iterable[nn.Module], retaining: Iterable[Tensor]) -> Iterator[Piece]:
    yield from _random_states()
    tree = list({id(inner): inner for module in modules for inner in module.modules()}.values())
    buffers = {id(b): b for module in tree for b in module._buffers.values() if b is not None}.values()
    yield from (_contents("a buffer", buffer) for buffer in buffers if not expanded(buffer))
    for module in tree:
        if isinstance(module, torch.jit.ScriptModule):
            yield from _script_attributes(module)
        else:
            yield from _attributes(module)
    for tensor in retaining:
        # Not added to in place: each pass puts a new tensor there.
        yield "a retained gradient", partial(setattr, tensor, "grad", tensor.grad)


def _contents(what: str, tensor: Tensor) -> Piece:
    # Through .data, so that the restored tensor does not look changed to a backward pass that saved it. All of them:
    # batch norm updates its statistics without counting up their version.
    return what, partial(tensor.data.copy_, tensor.detach().clone())


_CONTAINERS = (list, dict, set, deque)
_OF_TORCH = frozenset(nn.Module().__dict__)
"""Tables of hooks and the like, of which a module has a dozen, most of them empty."""


def _attributes(module: nn.Module) -> Iterator[Piece]:
    """What a module's attributes are, and what the plain containers among them hold."""
    name = type(module).__name__
    for attribute, value in module.__dict__.items():
        if type(value) in _CONTAINERS and (value or attribute not in _OF_TORCH):
            yield f"a {type(value).__name__} of {name}", partial(_refill, value, value.copy())
    yield f"the attributes of {name}", partial(_reset, module.__dict__, dict(module.__dict__))


def _refill(container: Any, before: Any) -> None:
    if isinstance(container, dict):
        _reset(container, before)
    elif isinstance(container, set):
        container.intersection_update(before)
        container.update(before)
    elif len(container) != len(before) or any(a is not b for a, b in zip(container, before, strict=True)):
        container.clear()
        container.extend(before)


def _reset(now: dict[Any, Any], before: Mapping[Any, Any]) -> None:
    for name in [name for name in now if name not in before]:
        del now[name]
    now.update(before)


def _script_attributes(module: torch.jit.ScriptModule) -> Iterator[Piece]:
    """A scripted module keeps its attributes in C++; those of Python alone are the same throughout."""
    inside = module._c
    for name in module._concrete_type.get_attributes():
        value = inside.getattr(name)
        if isinstance(value, Tensor):
            if not expanded(value):
                yield _contents(f"{name} of a scripted module", value)
        elif isinstance(value, bool | int | float | str | None):
            yield f"{name} of a scripted module", partial(inside.setattr, name, value)


def expanded(buffer: Tensor) -> bool:
    """Whether one number stands for several entries: torch itself refuses to write to such a tensor."""
    if buffer.layout is not torch.strided:
        return False
    return any(stride == 0 and size > 1 for stride, size in zip(buffer.stride(), buffer.shape, strict=True))


def _leaf_hooks(parameter: Tensor) -> dict[int, Any] | None:
    hooks: dict[int, Any] | None = parameter._backward_hooks
    return hooks


def _random_states() -> Iterator[Piece]:
    yield "torch's random state", partial(torch.set_rng_state, torch.get_rng_state())
    yield "Python's random state", partial(random.setstate, random.getstate())
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        yield "CUDA's random state", partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        yield "numpy's random state", partial(numpy_random.set_state, numpy_random.get_state(legacy=False))
