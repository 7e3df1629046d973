"""What is looked at before the first step: whether the tasks are all there is, and whether anything would be lost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from dominance.cure.placed import starts
from dominance.cure.refused import Refused
from dominance.optim.engine.gradients import grad
from dominance.optim.engine.task_gradients import Placed, start_of
from dominance.record.tasks.found import FoundTask
from dominance.record.tasks.weights import Root

OFF = 1e-2
"""Of the gradient's norm: what rounding leaves, in half precision too."""


def refuse_script(parameters: Iterable[Tensor], modules: Iterable[nn.Module]) -> None:
    """Whether something waits for ``.grad`` to be filled by autograd itself.

    Raises:
        Refused: other processes, or hooks that step or average within backward().
    """
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    if together and torch.distributed.get_world_size() > 1:
        raise Refused("the script trains in several processes, and a method combines gradients in one only")
    if any(isinstance(inner, nn.parallel.DistributedDataParallel) for module in modules for inner in module.modules()):
        raise Refused("DistributedDataParallel waits for gradients that a method does not pass on")
    if any(getattr(p, "_post_accumulate_grad_hooks", None) for p in parameters):
        raise Refused("hooks that run when .grad is filled (register_post_accumulate_grad_hook) would not run")


def adds_up(
    roots: Sequence[Root],
    losses: Mapping[str, Placed],
    beside: Sequence[FoundTask],
    parameters: Sequence[Tensor],
    scale: float,
) -> None:
    """Whether the tasks' gradients, and those of what is no task, are together the gradient of what is differentiated.

    Raises:
        Refused: they are not; nothing may be left out of a training.
    """
    whole: list[Tensor | None] = [None] * len(parameters)
    for root in roots:
        outputs, entering = starts([FoundTask("", [root.edge], [root.gradient], 1.0, 0.0)])
        whole = _sum(whole, grad(outputs, parameters, entering, retain_graph=True))
    rest = whole
    terms = [start_of(loss, scale) for loss in losses.values()]
    pieces = [(list(start.outputs), list(start.gradients or ())) for start in terms]
    for outputs, entering in [*pieces, starts(beside)]:
        if outputs:
            taken = grad(outputs, parameters, entering, retain_graph=True)
            rest = _sum(rest, [None if g is None else -g for g in taken])
    size, off = _norm(whole), _norm(rest)
    if off > OFF * size:
        raise Refused(
            f"the gradients of the tasks found ({', '.join(losses)}) are not all of the gradient: {off / size:.0%} of"
            " it is of something else; name the losses with dominance.observe"
        )


def _sum(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [b if a is None else a if b is None else a + b for a, b in zip(one, other, strict=True)]


def _norm(row: Sequence[Tensor | None]) -> float:
    squares = [float(g.double().square().sum()) for g in row if g is not None and bool(g.isfinite().all())]
    return math.sqrt(sum(squares))
