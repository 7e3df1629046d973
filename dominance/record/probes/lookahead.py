"""Lookahead affinity: what one task's step on the shared parameters does to the losses of all (Fifty et al. 2021)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.errors import BadOption, ProbeFailed
from dominance.record.probes.restore import LiveModel, restored
from dominance.record.rules import solo_for
from dominance.record.rules.linear import full
from dominance.record.split.gradients import task_gradients
from dominance.record.tasks.graph import edge_of

Losses = Callable[[Any], Mapping[str, Tensor]]
"""From the model to each task's loss on a fixed batch, a scalar."""

Steps = dict[str, dict[Tensor, Tensor]]


def lookahead(
    model: nn.Module,
    losses: Losses,
    *,
    lr: float | None = None,
    optimizer: Optimizer | None = None,
    params: str = "*",
) -> dict[str, dict[str, float]]:
    """How much a step of task i alone on the shared parameters lowers the loss of task j, on one batch.

    Z_{i→j} = 1 - L_j(θ_s + Δ_i, θ_j) / L_j(θ_s, θ_j): positive where the step of i helps j, negative where it harms.
    Δ_i is i's own step on the shared parameters θ_s, the tensors that two losses reach; the tasks' own, θ_j, stay. From
    Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning" (2021), Eq. 1. It costs one forward
    and K backward passes, and K forward passes more. Z is meant for losses above 0, and is NaN for one that is 0.

    The model and the optimizer are the same afterwards, to the bit, and so are the random states; every forward pass
    starts from the same ones.

    Args:
        model: the module that is trained, in the mode (train or eval) that is meant.
        losses: ``losses(model)`` returns {task: loss}; the same batch at every call, and the losses as they are
            weighted in training if the steps are to be those of training.
        lr: learning rate of a plain gradient step, Δ_i = -lr ∇L_i.
        optimizer: instead of ``lr``: Δ_i is the step that this optimizer would take from ∇L_i alone, its state held
            fixed, without weight decay.
        params: glob over the names of the parameters: only these are stepped.

    Returns:
        z[i][j] = Z_{i→j}, also for i = j: how far the task's own step gets it.

    Raises:
        BadOption: neither or both of ``lr`` and ``optimizer``, or no shared parameter.
        ProbeFailed: ``losses`` does not return two scalar losses or more, or the optimizer's step cannot be computed.

    >>> theta = torch.nn.Linear(1, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = theta.weight.fill_(1.0)
    >>> def losses(model):  # minima at 0 and at 2: the tasks pull in opposite directions
    ...     return {"a": (model.weight**2).sum(), "b": ((model.weight - 2) ** 2).sum()}
    >>> z = lookahead(theta, losses, lr=0.25)
    >>> z["a"]["a"], z["a"]["b"]  # from 1 to 0.5: losses 0.25 and 2.25
    (0.75, -1.25)
    """
    if (lr is None) == (optimizer is None):
        raise BadOption("a lookahead step needs lr or optimizer, not both or none", fix="give one: lr=0.01, say")
    live = LiveModel.of(model)
    with restored(live), torch.enable_grad():
        found = _checked(losses(model))
        before = {task: float(loss.detach()) for task, loss in found.items()}
        gradients = _shared_gradients(live, found, params)
        del found
    steps = _steps(gradients, lr, optimizer)
    affinity: dict[str, dict[str, float]] = {}
    for task, step in steps.items():
        with restored(live), torch.enable_grad():
            for p, change in step.items():
                p.data.copy_(full(p.data) + change)
            after = {name: float(loss.detach()) for name, loss in _checked(losses(model)).items()}
        affinity[task] = {other: _affinity(before[other], after.get(other, math.nan)) for other in before}
    return affinity


def _checked(found: Any) -> dict[str, Tensor]:
    """Raises ProbeFailed unless these are scalar losses of two tasks or more."""
    if isinstance(found, Mapping) and len(found) > 1:
        named = {str(task): loss for task, loss in found.items()}
        if all(isinstance(loss, Tensor) and loss.numel() == 1 for loss in named.values()):
            return {task: loss.reshape(()) for task, loss in named.items()}
    raise ProbeFailed(
        "losses(model) must give a scalar tensor for each of two tasks or more",
        fix='return them by name: {"depth": depth_loss, "seg": seg_loss}',
    )


def _shared_gradients(live: LiveModel, found: Mapping[str, Tensor], params: str) -> dict[str, dict[Tensor, Tensor]]:
    """Each task's gradient by the parameters that two tasks reach."""
    admitted = re.compile(translate(params))
    parameters = [p for name, p in live.parameters.items() if p.requires_grad and admitted.match(name)]
    taken = {
        task: task_gradients([edge_of(loss)], [torch.ones_like(loss)], parameters)
        for task, loss in found.items()
        if loss.requires_grad and parameters
    }
    reached = [sum(g[place] is not None for g in taken.values()) for place in range(len(parameters))]
    shared = [place for place, number in enumerate(reached) if number > 1]
    if not shared:
        raise BadOption(f"no parameter that fits {params!r} is reached by two losses", fix="see losses=, and params=")
    return {
        task: {parameters[place]: gradient for place in shared if (gradient := per_parameter[place]) is not None}
        for task, per_parameter in taken.items()
    }


def _steps(gradients: dict[str, dict[Tensor, Tensor]], lr: float | None, optimizer: Optimizer | None) -> Steps:
    if optimizer is None:
        assert lr is not None
        return {task: {p: -lr * full(g) for p, g in mine.items()} for task, mine in gradients.items()}
    solo = solo_for(optimizer)
    by_parameter: dict[Tensor, dict[str, Tensor]] = {}
    for task, mine in gradients.items():
        for p, gradient in mine.items():
            by_parameter.setdefault(p, {})[task] = gradient
    solo.before_step(list(by_parameter))
    taken = solo.after_step(by_parameter)
    if not taken:
        name = type(optimizer).__name__
        raise ProbeFailed(f"{name}: {solo.note or 'holds none of the shared parameters'}", fix="give lr= instead")
    return {task: {p: split[task] for p, split in taken.items() if task in split} for task in gradients}


def _affinity(before: float, after: float) -> float:
    return 1 - after / before if before else math.nan
