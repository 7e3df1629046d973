"""A copy of an optimizer, on which its code can be run without a trace in the training."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.guest import torch_internals as internals
from dominance.record.guest.hidden import hide
from dominance.record.rules.known import undecorated_step
from dominance.record.rules.outside import reaches_outside

_T = TypeVar("_T")
_NOT_COPIED = ("step", "grad_scale", "found_inf")
"""A step that a scheduler wrapped, and GradScaler's marks: the task gradients are unscaled already."""
_DECAYS = ("weight_decay", "lambd")
"""Weight decay in parameter groups; ASGD has one of each."""
_KERNELS = ("foreach", "fused")
"""Ways to compute a step of many parameters at once."""


class Shadow(NamedTuple):
    """A copy of an optimizer, and of each of its parameters."""

    optimizer: Optimizer
    copies: dict[Tensor, Tensor]


def shadow_of(optimizer: Optimizer, *, decays: bool = False, wide: bool = False) -> Shadow:
    """A copy of the optimizer over copies of its parameters, without hooks and gradients.

    Args:
        optimizer: any; it is only read.
        decays: keep weight decay, and compute one parameter at a time.
        wide: all in double precision.
    """

    def copied(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().clone()
        return tensor.double() if wide and tensor.is_floating_point() else tensor

    copies = {p: copied(p) for group in optimizer.param_groups for p in group["params"]}
    memo: dict[int, Any] = {id(p): c for p, c in copies.items()}
    for tensor in _tensors([*optimizer.state.values(), *optimizer.param_groups, optimizer.__dict__]):
        if id(tensor) not in memo:
            memo[id(tensor)] = copied(tensor)  # deepcopy refuses those with a gradient history
    shadow: Optimizer = object.__new__(type(optimizer))
    memo[id(optimizer)] = shadow
    for name, value in optimizer.__dict__.items():
        if not _left_behind(name):
            # What cannot be copied (a generator, a lock) is left out: its step fails if it needs that, and says so.
            with contextlib.suppress(TypeError, NotImplementedError):
                shadow.__dict__[name] = copy.deepcopy(value, memo)
    _mark(shadow, optimizer)
    for inner in [value for value in memo.values() if isinstance(value, Optimizer) and value is not shadow]:
        _mark(inner, inner)
    for group in shadow.param_groups:
        if decays:
            group.update({name: False for name in _KERNELS if name in group})
        else:
            group.update({name: 0 * group[name] for name in _DECAYS if name in group})
    return Shadow(shadow, copies)


def _left_behind(name: str) -> bool:
    return name.endswith("_hooks") or name in _NOT_COPIED


def _mark(shadow: Optimizer, original: Optimizer) -> None:
    hooks = [name for name in original.__dict__ if name.endswith("_hooks")]
    shadow.__dict__.update({name: OrderedDict() for name in hooks})
    hide(shadow)


def step_of(optimizer: Optimizer) -> None:
    """Run the step of the optimizer's class, without the hooks around it and without its compiled programs."""
    step = undecorated_step(type(optimizer))
    compiled = sys.modules.get("torch._dynamo") is not None
    with internals.set_stance("force_eager") if compiled else contextlib.nullcontext():
        step(optimizer)


class Fence:
    """Runs code of an optimizer's class: as it is for one of torch's, fenced off for any other.

    A class from outside torch.optim may do anything in its step: random states are put back, its prints and warnings
    are swallowed, dispatch modes of the script do not see it, and where it fails, or where processes talk to one
    another, nothing comes of it and ``failed`` says why.
    """

    def __init__(self, optimizer: Optimizer, *, foreign: bool) -> None:
        self._foreign = foreign
        self.failed = ""
        self._devices = [p.device for group in optimizer.param_groups for p in group["params"] if p.is_cuda]
        if foreign and torch.distributed.is_available() and torch.distributed.is_initialized():
            self.failed = "its step may talk to other processes"
        elif foreign and (what := reaches_outside(optimizer)):
            self.failed = f"its step cannot be run on a copy: it works on {what} as well"

    def run(self, call: Callable[[], _T]) -> _T | None:
        """What ``call`` returns; None where it fails, or failed before."""
        if not self._foreign:
            return call()
        if self.failed:
            return None
        with (
            torch.random.fork_rng(set(self._devices)),
            _random_states_kept(),
            contextlib.redirect_stdout(io.StringIO()),
            internals.without_dispatch_modes(),
        ):
            warn, warnings.warn = warnings.warn, _no_warning
            try:
                return call()
            except Exception as error:  # noqa: BLE001  somebody else's code, on a copy: whatever it raises goes into the note
                what = f"{type(error).__name__}: {error}".splitlines()[0]
                self.failed = f"its step cannot be run on a copy ({what[:200]})"
                return None
            finally:
                warnings.warn = warn


def _no_warning(*args: Any, **kwargs: Any) -> None:
    """Stands in for warnings.warn: what the step warns of, the script's own step has said."""


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    """Python's and numpy's."""
    state, numpy_random = random.getstate(), sys.modules.get("numpy.random")
    numpy_state = None if numpy_random is None else numpy_random.get_state(legacy=False)
    try:
        yield
    finally:
        random.setstate(state)
        if numpy_random is not None:
            numpy_random.set_state(numpy_state)


def _tensors(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Every tensor in nested dictionaries, lists and tuples, and in optimizers inside them."""
    seen = set() if seen is None else seen
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple, Optimizer)) and id(value) not in seen:
        seen.add(id(value))
        inside = value.__dict__ if isinstance(value, Optimizer) else value
        for item in inside.values() if isinstance(inside, Mapping) else inside:
            yield from _tensors(item, seen)
