"""The solo update f(g): the step an optimizer would take from one task's gradient alone, its state held fixed.

PUB (Table II, Algorithm 1) computes it from the state and the gradient with no decay term, since weight decay belongs
to no task: so here weight decay is left out, coupled and decoupled alike.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.rules.known import undecorated_step
from dominance.record.rules.linear import full

TaskGradients = Mapping[Tensor, Mapping[str, Tensor]]
TaskSteps = dict[Tensor, dict[str, Tensor]]
_T = TypeVar("_T")

_NOT_COPIED = ("step", "grad_scale", "found_inf")
"""A step that a scheduler wrapped, and GradScaler's marks: the task gradients are unscaled already."""
_DECAYS = ("weight_decay", "lambd")
"""Weight decay in parameter groups; ASGD has one of each."""
_MARK = "_dominance_shadow"


class Solo(Protocol):
    """A way to compute the solo updates of one optimizer."""

    @property
    def note(self) -> str:
        """How, or why not, in a few words."""

    def before_step(self, parameters: Sequence[Tensor]) -> None:
        """Keep the optimizer's state as it is before the step."""

    def after_step(self, gradients: TaskGradients) -> TaskSteps:
        """Solo update of every task on the parameters that it reaches, in their shape (float32 for half precision)."""


def is_shadow(optimizer: Optimizer) -> bool:
    """Whether this optimizer is a copy made here; global hooks see one when a subclass calls its parent's step."""
    return _MARK in optimizer.__dict__


class ShadowSolo:
    """Runs the optimizer's own code on copies of its parameters and state, once for each task.

    The class's undecorated ``step`` is called, so that no hook fires. A class from outside torch.optim may do anything
    in its step: the random state of torch is put back, its prints are swallowed, and where it fails, or where
    processes talk to each other, no solo update is computed and ``note`` says so.
    """

    def __init__(self, optimizer: Optimizer, *, foreign: bool) -> None:
        self.optimizer = optimizer
        self._foreign = foreign
        self._kept: tuple[Optimizer, dict[Tensor, Tensor]] | None = None
        self._failed = ""
        if foreign and torch.distributed.is_available() and torch.distributed.is_initialized():
            self._failed = "its step may talk to other processes"

    @property
    def note(self) -> str:
        if self._failed:
            return f"no solo update: {self._failed}"
        return "solo update by a copy of the optimizer with its state before the step, without weight decay"

    def before_step(self, parameters: Sequence[Tensor]) -> None:
        self._kept = self._fenced(lambda: shadow_of(self.optimizer))

    def after_step(self, gradients: TaskGradients) -> TaskSteps:
        kept, self._kept = self._kept, None
        steps: TaskSteps = {}
        if kept is None:
            return steps
        for task in dict.fromkeys(task for split in gradients.values() for task in split):
            mine = {p: split[task] for p, split in gradients.items() if task in split and p in kept[1]}
            taken = self._fenced(functools.partial(_step_alone, *kept, mine))
            if taken is None:
                return {}
            for p, step in taken.items():
                steps.setdefault(p, {})[task] = step
        return steps

    def _fenced(self, call: Callable[[], _T]) -> _T | None:
        """Run code of the optimizer's class: as it is for one of torch's, fenced off for any other."""
        if not self._foreign:
            return call()
        if self._failed:
            return None
        devices = {p.device for group in self.optimizer.param_groups for p in group["params"] if p.is_cuda}
        with torch.random.fork_rng(devices), contextlib.redirect_stdout(io.StringIO()):
            try:
                return call()
            except Exception as error:  # noqa: BLE001  somebody else's code, on a copy: whatever it raises goes into the note
                self._failed = f"its step cannot be run on a copy ({type(error).__name__}: {error})"
                return None


def _step_alone(
    template: Optimizer, theta: dict[Tensor, Tensor], gradients: Mapping[Tensor, Tensor]
) -> dict[Tensor, Tensor]:
    """The step of a copy of ``template`` from these gradients alone; ``theta`` maps parameters to the template's."""
    shadow, copies = shadow_of(template)
    for p, gradient in gradients.items():
        copies[theta[p]].grad = _as_fed(gradient, p)
    undecorated_step(type(shadow))(shadow)
    return {p: full(copies[theta[p]].detach()) - full(theta[p]) for p in gradients}


def shadow_of(optimizer: Optimizer) -> tuple[Optimizer, dict[Tensor, Tensor]]:
    """A copy of the optimizer over copies of its parameters, without hooks, gradients and weight decay.

    Returns:
        The copy, and the copy of each parameter.
    """
    copies = {p: p.detach().clone() for group in optimizer.param_groups for p in group["params"]}
    memo: dict[int, Any] = {id(p): c for p, c in copies.items()}
    for tensor in _tensors([*optimizer.state.values(), *optimizer.param_groups]):
        memo.setdefault(id(tensor), tensor.detach().clone())  # deepcopy refuses those with a gradient history
    shadow: Optimizer = object.__new__(type(optimizer))
    memo[id(optimizer)] = shadow
    hooks = {name for name in optimizer.__dict__ if name.endswith("_hooks")}
    kept = {name: value for name, value in optimizer.__dict__.items() if name not in hooks.union(_NOT_COPIED)}
    shadow.__dict__.update(copy.deepcopy(kept, memo))
    shadow.__dict__.update({_MARK: True, **{name: OrderedDict() for name in hooks}})
    for group in shadow.param_groups:
        group.update({name: 0 * group[name] for name in _DECAYS if name in group})
    return shadow, copies


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _as_fed(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The task's gradient as the optimizer expects it: in the parameter's dtype, sparse where the whole gradient is."""
    gradient = gradient.detach().to(parameter.dtype)
    if parameter.grad is not None and parameter.grad.is_sparse:
        return gradient.to_sparse(parameter.grad.sparse_dim())  # rows that are all zero are not the task's to touch
    return gradient.clone()
