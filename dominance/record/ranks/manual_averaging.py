"""Gradients that the script averages over the processes itself, between its backward() and the step.

Nothing says so beforehand. Where collectives were called between the two, the processes compare what the gradients were
after backward() with what the optimizer is about to be fed: where it is their mean, up to a factor, the tasks'
gradients are averaged likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.record.group import Group
from dominance.record.guest.hooks import dense
from dominance.record.ranks.exchange import agree
from dominance.record.ranks.local_gradients import Earlier
from dominance.record.ranks.means import Means
from dominance.record.recording import Recording

_EXPLAINED = 1e-4
"""Largest share of the squares of what was fed that a mean may leave over."""


def average(run: Recording, group: Group, parameters: Sequence[Tensor]) -> bool:
    """Average the tasks' gradients of these parameters, where that explains what they are about to be fed.

    Args:
        run: the recording of this process.
        group: the processes, which have met in a collective since their last backward().
        parameters: of the optimizer that is about to step, in one order in all processes.

    Returns:
        Whether they were averaged, which is the same in all of them.

    Raises:
        Lost: another process is gone.
    """
    earlier = Earlier(run.ledger, parameters)
    told = {
        "step": run.step.number,
        "spent": run.sink.spent,
        "reason": run.step.spoiled,
        "earlier": earlier.told(),
        "counts": (run.step.unit, run.step.counts),
    }
    everyone = group.gather(told)
    known = [each["earlier"] for each in everyone]
    if any(each["step"] != told["step"] for each in everyone) or not any(each["held"] for each in known):
        return False
    means = Means(group, parameters, group.size)
    left = earlier.mean_left(means, known)
    errors = group.gather([_left_over(left), _left_over(earlier.left)])
    of_mean, of_own, squares = (sum(each[0][0] for each in errors), *_sums(errors))
    if not (of_mean <= _EXPLAINED * squares and of_mean < _EXPLAINED * of_own):
        return False
    agree(run, group, everyone)
    run.step.count_all(each["counts"] for each in everyone)
    if reason := next((each["reason"] for each in everyone if each["reason"] is not None), None):
        run.step.spoiled = reason
        return True
    earlier.average(means, known, left)
    return True


def _sums(errors: Sequence[Any]) -> tuple[float, float]:
    return sum(each[1][0] for each in errors), sum(each[0][1] for each in errors)


@torch.no_grad()
def _left_over(gradients: Mapping[Tensor, Tensor]) -> tuple[float, float]:
    """The squares that the nearest multiple of these leaves of what lies in ``.grad``, and those of the latter."""
    products = torch.zeros(3, dtype=torch.float64)
    for p, gradient in gradients.items():
        now = torch.zeros_like(gradient) if p.grad is None else dense(p.grad.detach())
        a, b = gradient.reshape(-1).double().cpu(), now.reshape(-1).double().cpu()
        products += torch.stack([a @ a, a @ b, b @ b])
    own, both, fed = products.tolist()
    return fed - (both**2 / own if own else 0.0), fed
