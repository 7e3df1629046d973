"""Weights and losses of the tasks of a step, from the passes that its gradients came by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dominance.record.split.ledger import Account, Ledger
from dominance.record.split.passes import GradientOf, Pass


@dataclass
class Losses:
    """What is known of the losses that gradients come from."""

    weight: dict[str, float]
    """Weight of each task, in the order in which they appeared."""
    loss: dict[str, float]
    """Each task's own loss."""
    total: float
    """The loss that backward() was called on."""


class FedLosses(Protocol):
    """Of what one optimizer was fed, the losses."""

    losses: Losses
    mixed: bool


def losses_of(ledger: Ledger) -> Losses:
    """Of all passes of the step so far, whatever became of their gradients."""
    name = names_of(ledger, {made.part(task).root for made in ledger.passes.values() for task in made.gradients})
    return _over([(True, made) for made in ledger.passes.values()], name)


def joined(parts: Iterable[FedLosses]) -> Losses:
    """Losses, weights and the total of a step that several optimizers took together."""
    whole = Losses({}, {}, math.nan)
    parts = list(parts)
    # A mixture with no single weight, of parameters that tasks share, has none whatever their heads are fed.
    without = {task for part in parts if part.mixed for task, value in part.losses.weight.items() if math.isnan(value)}
    for part in parts:
        whole.total = part.losses.total if math.isnan(whole.total) else whole.total
        whole.loss |= part.losses.loss
        for task, value in part.losses.weight.items():
            if task not in whole.weight or math.isnan(whole.weight[task]):
                whole.weight[task] = value
    whole.weight |= {task: math.nan for task in whole.weight if task in without}
    return whole


def names_of(ledger: Ledger, roots: set[str], sharing_parts: set[GradientOf] | None = None) -> dict[GradientOf, str]:
    """What each part is called: where several losses had a pass each, each is a task, and none is taken apart."""
    known = ledger.sharing if sharing_parts is None else sharing_parts
    sharing = {part.root for part in known} & roots or roots
    names: dict[GradientOf, str] = {}
    for root in roots:
        tasks = ledger.tasks[root]
        several = len(sharing) > 1 and root in sharing and len(tasks) > 1
        # Unless one of the tasks that it adds up is called on in other passes: in some batches it is the only one.
        together = several and root in ledger.expanded and not roots & tasks
        called = {task: root if together else task for task in tasks}
        names |= {GradientOf(root, task): ledger.called.get(name, name) for task, name in called.items()}
    return names


def losses_of_accounts(
    ledger: Ledger, name: Mapping[GradientOf, str], accounts: Mapping[Tensor, Account], mixed: set[Tensor]
) -> Losses:
    """Weights and losses over the passes that the accounts are made of.

    Passes may fill some parameters only, as backward(inputs=) does: a task's are those of the parameter that most of
    its passes have filled.
    """
    live: dict[str, set[int]] = {}
    aside: dict[str, set[int]] = {}
    for p, account in accounts.items():
        _longest(live, ledger, name, p, account.held_by)
        if p in mixed:
            _longest(aside, ledger, name, p, account.aside_by)
    passes = {number: number in set().union(*live.values()) for number in ledger.passes}
    chosen = {task: live.get(task, numbers) for task, numbers in (aside | live).items()}
    known = set().union(*chosen.values())
    whole = _over([(passes[number], ledger.passes[number]) for number in ledger.passes if number in known], name)
    rows = {task: [ledger.passes[number] for number in sorted(numbers)] for task, numbers in chosen.items()}
    each = {task: _over([(True, made) for made in of], name) for task, of in rows.items()}
    weight = {task: each[task].weight[task] for task in whole.weight if task in each}
    loss = {task: each[task].loss[task] for task in whole.loss if task in each}
    return Losses(weight, loss, _total(ledger, accounts) if live else whole.total)


def _longest(
    found: dict[str, set[int]], ledger: Ledger, name: Mapping[GradientOf, str], parameter: Tensor, numbers: set[int]
) -> None:
    """For each task, the most passes that filled one parameter with it."""
    here: dict[str, set[int]] = {}
    parameter = ledger.originals.get(parameter, parameter)
    for number in numbers & ledger.passes.keys():
        for part in (part for part in ledger.passes[number].parts(parameter) if not part.beside):
            here.setdefault(name.get(part, part.task), set()).add(number)
    for task, of in here.items():
        if len(of) > len(found.get(task, ())):
            found[task] = of


def _total(ledger: Ledger, accounts: Mapping[Tensor, Account]) -> float:
    """The losses that were called on: of each, the passes that one parameter is filled by, where that is by most."""
    most: dict[str, list[float]] = {}
    for account in accounts.values():
        here: dict[str, list[float]] = {}
        for number in account.held_by & ledger.passes.keys():
            for root, total in ledger.passes[number].called.items():
                here.setdefault(root, []).append(total)
        most |= {root: totals for root, totals in here.items() if len(totals) > len(most.get(root, ()))}
    return sum(sum(totals) for totals in most.values())


def _over(passes: Iterable[tuple[bool, Pass]], name: Mapping[GradientOf, str]) -> Losses:
    """Weights and losses over these passes: sums, and means with the weights.

    Args:
        passes: whether its gradients are in ``.grad``, and the pass. Others count for tasks that no such pass has.
        name: what each part is called.
    """
    passes = list(passes)
    total = sum(made.total for live, made in passes if live or not any(live for live, _ in passes))
    rows = [(live, *row) for live, made in passes for row in _named_losses(made, name)]
    tasks_live = {task for live, task, _, _ in rows if live}
    weight: dict[str, float] = {}
    weighted: dict[str, float] = {}
    plain: dict[str, float] = {}
    for live, task, w, value in rows:
        if live or task not in tasks_live:
            plain[task] = value
            weight[task] = weight.get(task, 0.0) + w
            weighted[task] = weighted.get(task, 0.0) + w * value
    loss = {task: weighted[task] / w if w and not math.isnan(w) else plain[task] for task, w in weight.items()}
    return Losses(weight, loss, total if passes else math.nan)


def _named_losses(made: Pass, name: Mapping[GradientOf, str]) -> list[tuple[str, float, float]]:
    """Task, weight and loss of everything that a pass is made of; of the loss itself where it is not taken apart."""
    names = {name.get(made.part(task), task) for task in made.gradients}
    if len(made.gradients) > 1 and names == {made.root}:
        return [(made.root, 1.0, made.total)]
    return [(name.get(made.part(task), task), made.weight[task], made.loss[task]) for task in made.gradients]
