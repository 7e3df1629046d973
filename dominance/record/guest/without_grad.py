"""What the script computes while gradients are off, after it has called its model: an evaluation, perhaps."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules import module as of_all
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext
from torch.utils.data import dataloader

from dominance.record.guest import torch_internals as internals
from dominance.record.patches import replace

_KEY: Any = "dominance.record.guest.without_grad"
"""Of our hooks among those of all modules, always the same: a new number each time would be one more for everybody."""

_NO_BACKWARD = -1
"""The number of the backward pass that goes on, where none does."""

_SWITCHES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (torch.no_grad, ("__enter__", "__exit__")),
    (torch.enable_grad, ("__enter__", "__exit__")),
    (torch.inference_mode, ("__enter__", "__exit__")),
    (torch.set_grad_enabled, ("__init__", "__call__", "__enter__", "__exit__")),
)
"""What switches gradients off and on, and by which of its methods."""


class Hears(Protocol):
    """Who is told what is computed without gradients. None of it may raise."""

    def listens(self) -> bool:
        """Whether anything is to be told at all; asked whenever gradients are switched off."""

    def has_parameters(self, module: nn.Module) -> bool:
        """Whether a module that is about to be called is a model, or a part of one, and no mere function."""

    def called(self, module: nn.Module, args: Sequence[Any], output: Any) -> bool:
        """The call is over; whether to tell what is computed from here on."""

    def computed(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        """A function outside of any model has given a tensor without dimensions."""

    def fetched(self, iterator: Any, batch: Any, *, over: bool) -> None:
        """A DataLoader has given a batch, or has no more; also where gradients are on."""


class WithoutGrad:
    """Looks at what one thread of the script computes while gradients are off.

    A model is not looked into: with a function mode in force, torch would take other kernels in some of its layers.
    So the mode begins when a model has been called and ends when the next is, or the next batch is fetched. It lies
    below all modes of the script's own; where there are such, there is none of ours.

    Args:
        told: who wants to know.
    """

    def __init__(self, told: Hears) -> None:
        self._told = told
        self._mode = _Mode(told)
        self._thread = 0
        self._inside = False
        """Whether gradients are off and our hooks are there."""
        self._armed = False
        """Whether the mode is in force."""
        self._depth = 0
        """Calls of modules that go on, from the outermost that has parameters on."""
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Notice from now on when this thread switches gradients off."""
        self._thread = threading.get_ident()
        for owner, names in _SWITCHES:
            self._undo += [replace(owner, name, self._switching) for name in names]
        self._undo.append(replace(dataloader._BaseDataLoaderIter, "__next__", self._fetching))

    def stop(self) -> None:
        """Look no more."""
        while self._undo:
            self._undo.pop()()
        self._leave()

    def reset(self) -> None:
        """A training step goes on: calls of modules that seem to go on ended in an exception."""
        self._depth = 0

    def _switching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def switch(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            inside = self._inside
            if torch.is_grad_enabled() is inside and self._undo and threading.get_ident() == self._thread:
                if inside:
                    self._leave()
                elif internals.graph_task() == _NO_BACKWARD and self._told.listens():
                    # The engine has gradients off, which what a backward pass calls may switch on for a while; that
                    # they are on again once the pass is over, nobody says.
                    self._enter()
            return answer

        return switch

    def _fetching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def fetch(iterator: Any) -> Any:
            here = bool(self._undo) and threading.get_ident() == self._thread
            if here:
                self._disarm()  # a data set may compute, too
            try:
                batch = original(iterator)
            except StopIteration:
                if here:
                    self._told.fetched(iterator, None, over=True)
                raise
            if here:
                self._told.fetched(iterator, batch, over=False)
            return batch

        return fetch

    def _enter(self) -> None:
        self._inside = True
        of_all._global_forward_pre_hooks[_KEY] = self._before
        of_all._global_forward_hooks[_KEY] = self._after

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self._disarm()
            of_all._global_forward_pre_hooks.pop(_KEY, None)
            of_all._global_forward_hooks.pop(_KEY, None)

    def _before(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        if torch.is_grad_enabled():  # switched on by none of the switches
            self._depth = 0
            self._leave()
        elif self._depth:
            self._depth += 1
        elif self._told.has_parameters(module):
            self._depth = 1
            self._disarm()

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._depth or threading.get_ident() != self._thread:
            return
        self._depth -= 1
        if not self._depth and self._told.called(module, args, output):
            self._arm()

    def _arm(self) -> None:
        held = [internals.pop_function_mode() for _ in range(internals.function_modes())]
        for mode in reversed(held):
            internals.push_function_mode(mode)
        # The default device is a mode as well, and has to stay the lowest.
        if all(isinstance(mode, DeviceContext) for mode in held):
            internals.push_function_mode(self._mode)
            self._armed = True

    def _disarm(self) -> None:
        """Take the mode away, from below those that the script has entered since."""
        if not self._armed:
            return
        self._armed = False
        above: list[Any] = []
        while internals.function_modes():
            mode = internals.pop_function_mode()
            if mode is self._mode:
                break
            above.append(mode)
        for mode in reversed(above):
            internals.push_function_mode(mode)


class _Mode(TorchFunctionMode):
    """Lets every function of torch be called as it would be, and tells of tensors without dimensions."""

    def __init__(self, told: Hears) -> None:
        super().__init__()
        self._told = told

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **({} if kwargs is None else kwargs))
        if type(result) is Tensor and result.dim() == 0:
            self._told.computed(func, args, kwargs or {}, result)
        return result
