"""The task gradients of a training, taken by hand, in a run of it that nobody records (BY_HAND=file).

Just before the trainer's own backward() each noted loss is differentiated with autograd.grad; what has come together
when the optimizer has stepped is one row. Without BY_HAND nothing of this is there: no loss is noted, nothing is
patched, and a program only prints, in the end, what its weights are.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

on = "BY_HAND" in os.environ
first_evaluation_only = False
"""For line searches: the step goes along the gradient of the closure's first evaluation."""

clip_norm: float | None = None
"""For trainers that clip the gradient's norm: what it is clipped to."""

_named: dict[str, Tensor] = {}
_noted: list[tuple[str, Tensor]] = []
_together: dict[str, dict[str, Tensor]] = {}
_before: list[dict[str, Tensor]] = []
_rows: list[dict[str, Any]] = []


def tasks(parameters: nn.Module | Iterable[tuple[str, Tensor]], **losses: Tensor) -> None:
    """The losses that the next backward() is of, each as weighted in it."""
    named = parameters.named_parameters() if isinstance(parameters, nn.Module) else parameters
    _named.update((name, p) for name, p in named if p.requires_grad)
    _noted.extend(losses.items())


def finish(parameters: nn.Module | Iterable[tuple[str, Tensor]]) -> None:
    """Print what the weights are, to the bit."""
    named = parameters.named_parameters() if isinstance(parameters, nn.Module) else parameters
    digest = hashlib.sha256()
    for name, p in named:
        digest.update(name.encode())
        digest.update(p.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    print("weights", digest.hexdigest())
    if on:
        torch.save(_rows, os.environ["BY_HAND"])


def _take() -> None:
    parameters = list(_named.values())
    seen = set(_together)
    for task, loss in _noted:
        if first_evaluation_only and task in seen:
            continue
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        so_far = _together.setdefault(task, {})
        for name, gradient in zip(_named, gradients, strict=True):
            if gradient is not None:
                dense = gradient.to_dense() if gradient.is_sparse else gradient
                so_far[name] = so_far.get(name, 0) + dense.double()
    _noted.clear()


def _factor(gradients: dict[str, dict[str, Tensor]]) -> float:
    """What clipping the norm multiplies the gradient by, by its documented formula."""
    if clip_norm is None:
        return 1.0
    whole: dict[str, Any] = {}
    for of_task in gradients.values():
        for name, gradient in of_task.items():
            whole[name] = whole.get(name, 0) + gradient
    norm = sum(float(g.square().sum()) for g in whole.values()) ** 0.5
    return min(1.0, clip_norm / (norm + 1e-6))


def _own(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    ids = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {name: p for name, p in _named.items() if id(p) in ids}


def _pre(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    _before.append({name: p.detach().clone() for name, p in _own(optimizer).items()})


def _post(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    own = _own(optimizer)
    before = _before.pop()
    taken = {task: {n: g for n, g in of.items() if n in own} for task, of in _together.items()}
    for of_task in _together.values():
        for name in own:
            of_task.pop(name, None)
    for task in [task for task, of in _together.items() if not of]:
        del _together[task]
    factor = _factor(taken)
    gradients = {task: {n: g * factor for n, g in of.items()} for task, of in taken.items() if of}
    moved = {n: (own[n].detach() - b).double() for n, b in before.items()}
    if gradients or moved:
        _rows.append({"gradient": gradients, "moved": moved})


def _patched(backward: Callable[..., None]) -> Callable[..., None]:
    def with_tasks(*arguments: Any, **options: Any) -> None:
        _take()
        backward(*arguments, **options)

    return with_tasks


if on:
    torch.autograd.backward = _patched(torch.autograd.backward)
    register_optimizer_step_pre_hook(_pre)
    register_optimizer_step_post_hook(_post)
