"""A model as it was, to the bit, whatever was done to it in between."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dominance.record.guest.preserve_state import expanded, undisturbed
from dominance.record.parameters import ParameterTable, named_parameters
from dominance.record.tasks.named import unwatched


@dataclass(frozen=True)
class LiveModel:
    """The model of a training in this process.

    Attributes:
        argument: what a function of the model is given: the module, or a dict of modules by name.
        modules: all of them.
        parameters: the tensors by their names in the run.
    """

    argument: Any
    modules: tuple[nn.Module, ...]
    parameters: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> LiveModel:
        """Parameters are named by their paths, without the prefixes of wrappers."""
        return cls(model, (model,), {named.name: named.tensor for named in named_parameters(model)})

    @classmethod
    def recorded(cls, table: ParameterTable) -> LiveModel:
        """What a recording has seen: one module is given as it is; of several, or none, a dict by their names."""
        modules = tuple(table.modules)
        argument = modules[0] if len(modules) == 1 else dict(zip(table.called, modules, strict=True))
        return cls(argument, modules, {named.name: named.tensor for named in table.named.values()})


@contextlib.contextmanager
def restored(live: LiveModel) -> Iterator[None]:
    """Do anything to a model inside: it is put back afterwards, after an exception too.

    Put back to the bit are: values of parameters and buffers and which tensors they are, what needs gradient, ``.grad``
    (which is None inside, so that a backward pass of the caller's adds to none of the script's), train and eval mode,
    plain attributes of the modules, the random states of torch (CPU, and CUDA where it is in use), Python and numpy,
    and whether autograd is on. What is printed, warned of and logged inside is dropped, and a recording in progress
    sees nothing of it. What else the code inside does, to files or to objects of its own, stays.
    """
    tree = list({id(inner): inner for module in live.modules for inner in module.modules()}.values())
    leaves: dict[int, Tensor] = {id(p): p for p in live.parameters.values()}
    leaves |= {id(p): p for module in tree for p in module._parameters.values() if p is not None}
    kept = [_Kept(p) for p in leaves.values()]
    attributes = [(module, {name: (held, _copied(held)) for name, held in vars(module).items()}) for module in tree]
    grad_mode, silenced = torch.is_grad_enabled(), logging.root.manager.disable
    try:
        with unwatched(), undisturbed(live.modules, leaves.values()), contextlib.redirect_stderr(io.StringIO()):
            for p in leaves.values():
                p.grad = None
            logging.disable()
            yield
    finally:
        logging.disable(silenced)
        torch.set_grad_enabled(grad_mode)
        for module, slots in attributes:
            for name in [name for name in vars(module) if name not in slots]:
                del module.__dict__[name]
            for name, (held, before) in slots.items():
                module.__dict__[name] = held
                _refill(held, before)
        for leaf in kept:
            leaf.put_back()


class _Kept:
    """One parameter: its value, and where that lies."""

    def __init__(self, parameter: Tensor) -> None:
        self._parameter = parameter
        self._place = parameter.data
        self._value = None if expanded(parameter) else parameter.detach().clone()
        self._grad = parameter.grad
        self._needs = parameter.requires_grad

    def put_back(self) -> None:
        p = self._parameter
        p.grad = None
        # Through .data: somebody may have given it another one, and the version that autograd counts stays.
        p.data = self._place
        if self._value is not None:
            p.data.copy_(self._value)
        p.requires_grad_(self._needs)
        p.grad = self._grad


def _copied(held: Any) -> Any:
    """A copy of a container (parameters, buffers, children, hooks, lists of the model's own); else nothing."""
    return copy.copy(held) if isinstance(held, dict | list | set) else None


def _refill(held: Any, before: Any) -> None:
    if before is None:
        return
    held.clear()
    if isinstance(held, list):
        held.extend(before)
    else:
        held.update(before)
