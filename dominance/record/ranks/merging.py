"""What each process has found one backward() to be made of, and what the averaged one is made of then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dominance.record.split.passes import Pass

Gradients = Mapping[str, Mapping[Tensor, Tensor]]


@dataclass
class Averaged:
    """A pass over the losses' means over the processes, without its gradients."""

    root: str
    total: float
    tasks: list[str]
    weight: dict[str, float]
    """The mean of the weights: a process that does not have the task counts as 0."""
    loss: dict[str, float]
    """The mean over the processes that have the task."""
    expanded: bool
    losses: dict[str, str] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    nameless_sum: bool = False

    def root_of(self, task: str) -> str:
        """The loss that this task is of."""
        return self.losses.get(task, self.root)


def told(made: Pass) -> dict[str, Any]:
    """A pass in words and numbers, for the other processes."""
    return {
        "root": made.root,
        "total": made.total,
        "weight": made.weight,
        "loss": made.loss,
        "expanded": made.expanded,
        "losses": made.losses,
        "totals": made.totals,
        "nameless": made.nameless_sum,
    }


def averaged(passes: Sequence[Mapping[str, Any] | None], count: int) -> Averaged | None:
    """The pass over the means of the losses; None where no process has found a task.

    Args:
        passes: what each process tells, by rank; None of one that found no task.
        count: what sums are divided by.
    """
    there = [made for made in passes if made is not None]
    if not there:
        return None
    losses: dict[str, str] = {}
    goes_to: dict[str, str] = {}
    by_size = sorted(there, key=lambda made: -len(made["weight"]))
    for made in by_size:
        # Where a task is missing in a batch, the loss may go by the name of what is left of it.
        known = [losses[task] for task in made["weight"] if task in losses]
        root = goes_to.setdefault(made["root"], known[0] if known else made["root"])
        for task in made["weight"]:
            losses.setdefault(task, made["losses"].get(task, root))
    totals: dict[str, float] = {}
    for made in there:
        for root, total in (made["totals"] or {made["root"]: made["total"]}).items():
            place = goes_to.get(root, root)
            totals[place] = totals.get(place, 0.0) + total / count
    tasks = list(losses)
    weight = {task: sum(made["weight"].get(task, 0.0) for made in there) / count for task in tasks}
    having = {task: [made["loss"][task] for made in there if task in made["loss"]] for task in tasks}
    first = by_size[0]
    one = set(losses.values()) == {first["root"]}
    return Averaged(
        first["root"],
        sum(totals.values()),
        tasks,
        weight,
        {task: sum(values) / len(values) if values else math.nan for task, values in having.items()},
        any(made["expanded"] for made in there),
        {} if one and not first["losses"] else losses,
        {} if one and not first["totals"] else totals,
        all(made["nameless"] for made in there),
    )


def with_gradients(whole: Averaged, gradients: Gradients, beside: Gradients) -> Pass:
    """The pass with these gradients of its tasks and beside them."""
    return Pass(
        whole.root,
        whole.total,
        {task: dict(gradients.get(task, {})) for task in whole.tasks},
        whole.weight,
        whole.loss,
        whole.expanded,
        {name: dict(of) for name, of in beside.items()},
        whole.losses,
        whole.totals,
        whole.nameless_sum,
    )
