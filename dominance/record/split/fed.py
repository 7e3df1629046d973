"""What an optimizer was fed: each task's effective gradient, and the residual, from the accounts of its parameters."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.compare import nonzero
from dominance.record.split.by_rows import laid
from dominance.record.split.changes import factor_beneath
from dominance.record.split.closed_together import close_together
from dominance.record.split.closing import Closing, rest
from dominance.record.split.ledger import Account, Ledger, add
from dominance.record.split.mixtures import nearer_than_mixtures, unmixed
from dominance.record.split.passes import GradientOf, Pass
from dominance.record.split.rescaling import ALIKE, Factor, alike, are_one, factors, uniform, within
from dominance.record.split.splits import GradientSplit


@dataclass
class Losses:
    """What is known of the losses that gradients come from."""

    weight: dict[str, float]
    """Weight of each task, in the order in which they appeared."""
    loss: dict[str, float]
    """Each task's own loss."""
    total: float
    """The loss that backward() was called on."""


@dataclass
class Fed:
    """The gradients that an optimizer was fed, task by task: they and the residual sum to the total."""

    totals: dict[Tensor, Tensor]
    splits: dict[Tensor, GradientSplit]
    tasks: list[str]
    """Names of the tasks, in order of appearance."""
    losses: Losses
    """Weights as they are in the effective gradients: with what the script did to these since."""
    announced: dict[str, float]
    """Weights as they were when backward() was called; none of a mixture."""
    mixed: bool
    """Whether the script put a mixture of its own into ``.grad`` of some parameters."""
    roots: set[str]
    """Names of the losses whose gradients it is made of."""
    parts: dict[Tensor, list[GradientOf]]
    """The parts of each parameter's gradient that are tasks'."""
    separate: list[str]
    """Losses that are no tasks where others are: they share no parameter with another."""

    @property
    def reach(self) -> dict[Tensor, list[str]]:
        """Which tasks reach each parameter, as far as this step shows."""
        # All zero says nothing: one node of a compiled graph gives every head a gradient of every loss.
        return {p: split.reach for p, split in self.splits.items()}


def fed(ledger: Ledger, totals: dict[Tensor, Tensor], tasks: Iterable[str] = ()) -> Fed:
    """Effective task gradients and residual of what a step was fed.

    Args:
        ledger: the accounts as they were before the step.
        totals: what ``Ledger.read`` returned then; what is of rows is laid out, those of the step one after the other.
        tasks: what is a task of the run already, and stays one.
    """
    totals = {p: ledger.at(p, whole) for p, whole in totals.items()}
    accounts = ledger.accounts_at(totals)
    for p in [p for p, whole in totals.items() if whole.is_sparse]:
        rows = ledger.rows(p, totals[p])
        totals = totals | {p: laid(totals[p], rows)}
        accounts[p] = accounts[p].turned(functools.partial(laid, rows=rows))
    accounts = _named(ledger, accounts)
    changed = factors(totals, {p: account.left for p, account in accounts.items() if account.left is not None})
    mixed = {p for p, account in accounts.items() if _mixed(account, changed[p], totals[p])}
    beneath = _beneath({p: totals[p] for p in mixed}, accounts)
    mixed -= beneath.keys()
    roots = {part.root for account in accounts.values() for part in account.held if not part.beside}
    roots |= {part.root for p in mixed for part in accounts[p].aside if not part.beside}
    parts = {p: _together(account) if p in mixed else account.held for p, account in accounts.items()}
    stepped_by = {p: [part for part in each if not part.beside] for p, each in parts.items()}
    sharing = ledger.sharing_with(stepped_by)
    name = _names(ledger, roots, sharing)
    scaled = [
        _Scaled(p, totals[p], accounts[p], name, changed[p], beneath.get(p, 1.0)) for p in totals if p not in mixed
    ]
    for each in scaled:
        each.close_if(ledger.closed(each.parameter, totals[each.parameter]))
    answers.ask(query for each in scaled for query in each.asked())
    close_together([each.closing for each in scaled])
    splits = {each.parameter: each.split() for each in scaled}
    mixtures, fitted = unmixed({p: totals[p] for p in mixed}, {p: _by_task(parts[p], name) for p in mixed})
    splits |= mixtures
    losses = _losses(ledger, name, accounts, mixed)
    announced = {} if mixed else dict(losses.weight)
    # Of zeros nobody knows by what they were multiplied, nor of what no task reaches: learned weights of the losses.
    known_before = [p for p, account in accounts.items() if account.left is not None]
    some = [p for p in known_before if p not in mixed and changed[p] is not None]
    if not are_one(changed[p] for p in some):
        some = [p for p in some if nonzero(totals[p])]
        overall = uniform([changed[p] for p in some], max(map(within, some), default=ALIKE))
        losses.weight = {task: value * overall for task, value in losses.weight.items()}
    for members, weights in fitted:
        # The largest set of tasks comes last: the weights of the shared parameters are the ones that are kept.
        passed = _losses(ledger, name, {p: accounts[p] for p in members}, set(members)).weight
        losses.weight |= {task: w * passed.get(task, math.nan) for task, w in weights.items()}
    known = {name[part] for part in sharing if part in name} | set(tasks)
    separate = _explain(ledger, splits, known if sharing else None)
    for p, split in splits.items():
        split.total = totals[p]
    found = dict.fromkeys(task for split in splits.values() for task in split.tasks)
    ordered = [task for task in losses.weight if task in found] + [task for task in found if task not in losses.weight]
    return Fed(totals, splits, ordered, losses, announced, bool(mixed), roots, stepped_by, separate)


def asked(ledger: Ledger, totals: Mapping[Tensor, Tensor]) -> Iterator[answers.Asked]:
    """What ``fed`` asks first."""
    for p, total in totals.items():
        yield answers.NONZERO, total
        account = ledger.accounts.get(p)
        left = None if account is None else account.left
        if account is None or left is None or total.is_sparse or left.shape != total.shape:
            continue
        if left is not total:
            yield answers.SAME, left, total
        if left is not total and ledger.changes:
            yield answers.PRODUCTS, total, left
        elif p not in ledger.sampled:
            # As backward() left it, if not otherwise known: what is closed is known already, if these are tasks of a
            # name each.
            yield answers.NONZERO, left
            tasks = {part.task: gradient for part, gradient in account.held.items()}
            if len(tasks) == len(account.held) and not any(part.beside for part in account.held):
                yield from Closing(p, left, tasks).asked_early()


def losses_of(ledger: Ledger) -> Losses:
    """Of all passes of the step so far, whatever became of their gradients."""
    name = _names(ledger, {made.part(task).root for made in ledger.passes.values() for task in made.gradients})
    return _over([(True, made) for made in ledger.passes.values()], name)


def reach_of(ledger: Ledger) -> dict[Tensor, list[str]]:
    """Which tasks' gradients lie in each parameter's ``.grad`` now, or will when the pass that goes on is over."""
    live = _live(ledger)
    name = _names(
        ledger, {part.root for account in ledger.accounts.values() for part in account.held if not part.beside}
    )
    reach: dict[Tensor, list[str]] = {}
    for p, account in ledger.accounts.items():
        coming = [ledger.passes[number].parts(p) for number in live if number in ledger.passes]
        known = dict.fromkeys(part for parts in (account.held, *coming) for part in parts)
        known = {part: None for part in known if not ledger.sharing or part in ledger.sharing}
        if known:
            reach[p] = list(dict.fromkeys(name[part] for part in known if part in name))
    return reach


def tasks_of(ledger: Ledger) -> list[str]:
    """The tasks of the passes whose gradients lie in ``.grad``, or will when the pass that goes on is over."""
    losses = losses_of(ledger).weight
    passes = [ledger.passes[number] for number in _live(ledger) if number in ledger.passes]
    parts = [made.part(task) for made in passes for task in made.gradients]
    name = _names(ledger, {part.root for part in parts})
    known = {name[part] for part in parts if not ledger.sharing or part in ledger.sharing}
    return [task for task in losses if task in known]


def _live(ledger: Ledger) -> set[int]:
    return {number for account in ledger.accounts.values() for number in account.held_by}


def joined(parts: Iterable[Fed]) -> Losses:
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


def _named(ledger: Ledger, accounts: dict[Tensor, Account]) -> dict[Tensor, Account]:
    """Without the gradients that were taken of sums with no names, where there are tasks that have one.

    The gradient of each sample's whole loss, say: no task beside the losses that it is the sum of.
    """
    nameless = {made.part(task) for made in ledger.passes.values() if made.nameless_sum for task in made.gradients}
    known = {part for account in accounts.values() for part in (*account.held, *account.aside) if not part.beside}
    if not nameless or known <= nameless:
        return accounts
    numbers = {number for number, made in ledger.passes.items() if made.nameless_sum}
    return {
        p: dataclasses.replace(
            account,
            aside={part: g for part, g in account.aside.items() if part not in nameless},
            aside_by=account.aside_by - numbers,
        )
        for p, account in accounts.items()
    }


def _mixed(account: Account, changed: Factor, total: Tensor) -> bool:
    """Whether the script put a mixture of its own into ``.grad``, of gradients that it had read before."""
    tasks = {part.root for part in (*account.held, *account.aside) if not part.beside}
    if changed is None and len(tasks) > 1:
        return True
    # Zeros are what a backward() left whose gradients cancel, as those of a critic's bias, and nothing was put there.
    return bool(account.aside and not account.held) and nonzero(total)


def _beneath(totals: Mapping[Tensor, Tensor], accounts: Mapping[Tensor, Account]) -> dict[Tensor, float]:
    """The parameters whose gradients are no mixture: those that backward() left, changed after; and by what factor.

    Args:
        totals: what the parameters were fed, of those that may be mixtures.
        accounts: the books of them.
    """
    left = {p: before for p in totals if accounts[p].held and (before := accounts[p].left) is not None}
    fed = {p: totals[p] for p in left}
    factor = factor_beneath(fed, left)
    if not math.isnan(factor):
        return dict.fromkeys(left, 1.0 if alike(factor, 1.0) else factor)
    aside = [p for p in left if accounts[p].aside]
    if aside and nearer_than_mixtures([(totals[p], left[p], list(_together(accounts[p]).values())) for p in aside]):
        return dict.fromkeys(left, 1.0)
    return {}


def _together(account: Account) -> dict[GradientOf, Tensor]:
    """What is held and what was set aside."""
    parts = dict(account.aside)
    add(parts, account.held)
    return parts


class _Scaled:
    """A gradient that was changed, if at all, by a factor; else it keeps its shares, and the change is residual."""

    def __init__(
        self, parameter: Tensor, total: Tensor, account: Account, name: Mapping[GradientOf, str], changed: Factor,
        beneath: float,
    ) -> None:  # fmt: skip
        held, self._total = account.held, total
        self._change: Tensor | None = None
        if changed is None and account.left is not None:
            left = account.left if beneath == 1.0 else account.left * beneath
            held = held if beneath == 1.0 else {part: gradient * beneath for part, gradient in held.items()}
            self._change = total - left
            self._total = left
        elif changed is not None and not (isinstance(changed, float) and changed == 1.0):
            held = {part: gradient * changed for part, gradient in held.items()}
        known = [gradient for part, gradient in held.items() if part.beside]
        # What is no task's, and known, is no rounding of a task's, however small it is.
        self._beside = torch.stack(known).sum(0) if known else None
        of_tasks = self._total if self._beside is None else self._total - self._beside
        self.parameter = parameter
        self.closing = Closing(parameter, of_tasks, _by_task(held, name))

    def close_if(self, closed: bool) -> None:
        """Take the tasks' gradients as they are, if they add up to all that came."""
        waits = answers.waits(self._total)  # there it is asked of all at once whether they are zero
        if closed and self._change is None and self._beside is None and not waits:
            self.closing.found = dict(self.closing.tasks)

    def asked(self) -> Iterator[answers.Asked]:
        """What ``split`` is going to ask."""
        yield from self.closing.asked()
        if self._beside is not None:
            yield answers.NORM, self._total
            yield answers.NORM, self._beside

    def split(self) -> GradientSplit:
        """Its parts, which add up to it."""
        tasks, residual = self.closing.close()
        unexplained = residual
        if self._beside is not None:
            everything = [*tasks.values(), self._beside]
            unexplained = None if residual is None else rest(self.parameter, self._total, everything)
            residual = self._beside if residual is None else residual + self._beside
        if self._change is not None:
            residual, unexplained = (
                self._change if left is None else left + self._change for left in (residual, unexplained)
            )
        return GradientSplit(tasks, residual, unexplained, reaching=self.closing.reaching)


def _explain(ledger: Ledger, splits: Mapping[Tensor, GradientSplit], sharing: set[str] | None) -> list[str]:
    """Say which of the residual nobody can account for, and move there what trains something else: the names of that.

    A loss that shares no parameter with another is no task where others do share: it trains the weights of the losses,
    or another model. A parameter that no task reaches is moved by what is beside the tasks, like the weights in a loss.
    """
    moved: list[str] = []
    for p, split in splits.items():
        if not ledger.reached.get(p):
            split.unexplained = None
        for task in [task for task in split.tasks if sharing is not None and task not in sharing]:
            gradient = split.tasks.pop(task)
            split.residual = gradient if split.residual is None else split.residual + gradient
            moved.append(task)
    return list(dict.fromkeys(moved))


def _names(ledger: Ledger, roots: set[str], sharing_parts: set[GradientOf] | None = None) -> dict[GradientOf, str]:
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


def _by_task(parts: Mapping[GradientOf, Tensor], name: Mapping[GradientOf, str]) -> dict[str, Tensor]:
    tasks: dict[str, Tensor] = {}
    for part, gradient in parts.items():
        if part.beside:
            continue
        task = name.get(part, part.task)
        tasks[task] = tasks[task] + gradient if task in tasks else gradient
    return tasks


def _losses(
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
