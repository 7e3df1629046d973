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
from dominance.record.split.losses import Losses, losses_of, losses_of_accounts, names_of
from dominance.record.split.mixtures import nearer_than_mixtures, unmixed
from dominance.record.split.passes import GradientOf
from dominance.record.split.rescaling import ALIKE, Factor, alike, are_one, factors, uniform, within
from dominance.record.split.splits import GradientSplit


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
    totals, accounts = _laid_out(ledger, totals)
    accounts = _named(ledger, accounts)
    change = _changes(totals, accounts)
    parts = {p: _together(account) if p in change.mixed else account.held for p, account in accounts.items()}
    stepped_by = {p: [part for part in each if not part.beside] for p, each in parts.items()}
    roots = _roots(accounts, change.mixed)
    sharing = ledger.sharing_with(stepped_by)
    name = names_of(ledger, roots, sharing)

    splits = _shares(ledger, totals, accounts, name, change)
    mixtures, fitted = unmixed(
        {p: totals[p] for p in change.mixed}, {p: _by_task(parts[p], name) for p in change.mixed}
    )
    splits |= mixtures

    losses = losses_of_accounts(ledger, name, accounts, change.mixed)
    announced = {} if change.mixed else dict(losses.weight)
    losses.weight = _times_overall(losses.weight, totals, accounts, change)
    for members, weights in fitted:
        # The largest set of tasks comes last: the weights of the shared parameters are the ones that are kept.
        passed = losses_of_accounts(ledger, name, {p: accounts[p] for p in members}, set(members)).weight
        losses.weight |= {task: w * passed.get(task, math.nan) for task, w in weights.items()}

    known = {name[part] for part in sharing if part in name} | set(tasks)
    separate = _explain(ledger, splits, known if sharing else None)
    for p, split in splits.items():
        split.total = totals[p]
    ordered = _ordered(splits, losses)
    return Fed(totals, splits, ordered, losses, announced, bool(change.mixed), roots, stepped_by, separate)


@dataclass
class _Change:
    """What became of gradients between backward() and the step."""

    factor: dict[Tensor, Factor]
    """What each was multiplied by; None: something else was done to it."""
    mixed: set[Tensor]
    """Parameters that the script gave a mixture of its own."""
    beneath: dict[Tensor, float]
    """Those that look like it and are none: what backward() left times this, changed after."""


def _laid_out(ledger: Ledger, totals: dict[Tensor, Tensor]) -> tuple[dict[Tensor, Tensor], dict[Tensor, Account]]:
    """What the parameters were fed and their accounts, at the coordinates that are kept, rows one after the other."""
    totals = {p: ledger.at(p, whole) for p, whole in totals.items()}
    accounts = ledger.accounts_at(totals)
    for p in [p for p, whole in totals.items() if whole.is_sparse]:
        rows = ledger.rows(p, totals[p])
        totals[p] = laid(totals[p], rows)
        accounts[p] = accounts[p].turned(functools.partial(laid, rows=rows))
    return totals, accounts


def _changes(totals: Mapping[Tensor, Tensor], accounts: Mapping[Tensor, Account]) -> _Change:
    changed = factors(totals, {p: account.left for p, account in accounts.items() if account.left is not None})
    mixed = {p for p, account in accounts.items() if _mixed(account, changed[p], totals[p])}
    beneath = _beneath({p: totals[p] for p in mixed}, accounts)
    return _Change(changed, mixed - beneath.keys(), beneath)


def _roots(accounts: Mapping[Tensor, Account], mixed: set[Tensor]) -> set[str]:
    """Names of the losses whose gradients the accounts hold, and of those that mixtures are made of."""
    roots = {part.root for account in accounts.values() for part in account.held if not part.beside}
    return roots | {part.root for p in mixed for part in accounts[p].aside if not part.beside}


def _shares(
    ledger: Ledger,
    totals: Mapping[Tensor, Tensor],
    accounts: Mapping[Tensor, Account],
    name: Mapping[GradientOf, str],
    change: _Change,
) -> dict[Tensor, GradientSplit]:
    """The parts of the gradients that are no mixtures; what has to be asked of their device is asked of all at once."""
    scaled = [
        _Scaled(p, totals[p], accounts[p], name, change.factor[p], change.beneath.get(p, 1.0))
        for p in totals
        if p not in change.mixed
    ]
    for each in scaled:
        each.close_if(ledger.closed(each.parameter, totals[each.parameter]))
    answers.ask(query for each in scaled for query in each.asked())
    close_together([each.closing for each in scaled])
    return {each.parameter: each.split() for each in scaled}


def _times_overall(
    weight: dict[str, float], totals: Mapping[Tensor, Tensor], accounts: Mapping[Tensor, Account], change: _Change
) -> dict[str, float]:
    """Weights with the one factor that the script has put on all gradients since, if it is one."""
    # Of zeros nobody knows by what they were multiplied, nor of what no task reaches: learned weights of the losses.
    known_before = [p for p, account in accounts.items() if account.left is not None]
    some = [p for p in known_before if p not in change.mixed and change.factor[p] is not None]
    if are_one(change.factor[p] for p in some):
        return weight
    some = [p for p in some if nonzero(totals[p])]
    overall = uniform([change.factor[p] for p in some], max(map(within, some), default=ALIKE))
    return {task: value * overall for task, value in weight.items()}


def _ordered(splits: Mapping[Tensor, GradientSplit], losses: Losses) -> list[str]:
    """The tasks of the splits: those that have a weight, in its order, then the others."""
    found = dict.fromkeys(task for split in splits.values() for task in split.tasks)
    return [task for task in losses.weight if task in found] + [task for task in found if task not in losses.weight]


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


def reach_of(ledger: Ledger) -> dict[Tensor, list[str]]:
    """Which tasks' gradients lie in each parameter's ``.grad`` now, or will when the pass that goes on is over."""
    live = _live(ledger)
    name = names_of(
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
    name = names_of(ledger, {part.root for part in parts})
    known = {name[part] for part in parts if not ledger.sharing or part in ledger.sharing}
    return [task for task in losses if task in known]


def _live(ledger: Ledger) -> set[int]:
    return {number for account in ledger.accounts.values() for number in account.held_by}


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


def _by_task(parts: Mapping[GradientOf, Tensor], name: Mapping[GradientOf, str]) -> dict[str, Tensor]:
    tasks: dict[str, Tensor] = {}
    for part, gradient in parts.items():
        if part.beside:
            continue
        task = name.get(part, part.task)
        tasks[task] = tasks[task] + gradient if task in tasks else gradient
    return tasks
