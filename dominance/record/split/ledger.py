"""What each parameter's gradient is made of, from backward() until an optimizer has stepped by it.

The books are kept by parameter, not by step: optimizers may step at different rates, gradients may never be zeroed, and
what one optimizer's parameters were fed says nothing of another's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.compare import nonzero, same
from dominance.record.guest.hooks import dense
from dominance.record.split.by_rows import Orders, rows_of, total
from dominance.record.split.passes import GradientOf, Pass
from dominance.record.split.rescaling import alike, factors
from dominance.record.split.sampled import TaskProducts, picked


@dataclass
class Account:
    """The gradient of one parameter. Tensors are only read: sums are new tensors.

    They are dense, or of rows (by_rows.py), all of them.
    """

    held: dict[GradientOf, Tensor] = field(default_factory=dict)
    """Whose gradients lie in ``.grad``, as backward() put them there."""
    aside: dict[GradientOf, Tensor] = field(default_factory=dict)
    """Whose gradients the script took out of ``.grad`` again before any step, or took with autograd.grad."""
    held_by: set[int] = field(default_factory=set)
    """The passes that put it there, by number."""
    aside_by: set[int] = field(default_factory=set)
    left: Tensor | None = None
    """Copy of ``.grad`` as the last backward() left it."""
    stepped: bool = False
    """Whether an optimizer has stepped by what is held."""
    known: bool = True
    """Whether, when a pass began, ``.grad`` was what is held, up to a factor."""

    def empty(self) -> None:
        """``.grad`` was zeroed: what no optimizer has stepped by is set aside, in case the script puts it back."""
        if not self.stepped:
            add(self.aside, self.held)
            self.aside_by |= self.held_by
        self.drop()

    def turned(self, into: Callable[[Tensor], Tensor]) -> Account:
        """The same with this made of every tensor."""
        held, aside = ({part: into(g) for part, g in each.items()} for each in (self.held, self.aside))
        return dataclasses.replace(self, held=held, aside=aside, left=None if self.left is None else into(self.left))

    @property
    def rows(self) -> list[Tensor]:
        """Gradients that together hold all rows of any."""
        return [*self.held.values(), *self.aside.values(), *([] if self.left is None else [self.left])]

    def drop(self) -> None:
        """What is held is of no use any more."""
        self.held, self.held_by, self.left, self.stepped = {}, set(), None, False


def add(sums: dict[GradientOf, Tensor], parts: Mapping[GradientOf, Tensor]) -> None:
    for part, gradient in parts.items():
        both = sums[part] + gradient if part in sums else gradient
        sums[part] = both.coalesce() if both.is_sparse else both


def _as_they_came(
    parameter: Tensor, parts: dict[GradientOf, Tensor], account: Account, now: Tensor
) -> dict[GradientOf, Tensor]:
    """The parts of a pass, with the factor that hooks of the script have put on their sum on its way."""
    if account.held and (account.left is None or not account.known):
        return parts
    came = now if account.left is None else total([now, -account.left])
    whole = total(list(parts.values()))
    factor = factors({parameter: came}, {parameter: whole})[parameter]
    if factor is None or (isinstance(factor, float) and alike(factor, 1.0)):
        return parts
    return {part: gradient * factor for part, gradient in parts.items()}


@dataclass
class Ledger:
    """An account for each parameter, and the passes of the training step in progress."""

    accounts: dict[Tensor, Account] = field(default_factory=dict)
    passes: dict[int, Pass] = field(default_factory=dict)
    """By number, counted over the whole training."""
    given: set[Tensor] = field(default_factory=set)
    """Parameters whose step is given its gradients directly, whatever ``.grad`` holds."""
    met: set[GradientOf] = field(default_factory=set)
    """Parts whose passes have been seen to reach a parameter of another's, whatever became of the gradients."""
    shared: set[GradientOf] = field(default_factory=set)
    """Parts that have been seen to share a parameter that an optimizer stepped by both of them."""
    moved_by: dict[Tensor, set[GradientOf]] = field(default_factory=dict)
    """Parts by whose gradients a parameter has been stepped."""
    tasks: dict[str, set[str]] = field(default_factory=dict)
    """Names of the tasks of each loss."""
    expanded: set[str] = field(default_factory=set)
    """Losses that are one named sum which was taken apart."""
    originals: dict[Tensor, Tensor] = field(default_factory=dict)
    """The parameters that copies stand for, which an optimizer steps in their place."""
    reached: dict[Tensor, set[GradientOf]] = field(default_factory=dict)
    """Parts whose gradient of a parameter has been seen not to be zero."""
    called: dict[str, str] = field(default_factory=dict)
    """Tasks that go by another name than their passes have, and that."""
    averaged: set[int] = field(default_factory=set)
    """Passes whose gradients are means over the processes of a training."""
    by_rows: set[Tensor] = field(default_factory=set)
    """Parameters of whose gradients only the rows are kept that they hold; all others are dense here."""
    sampled: dict[Tensor, Tensor] = field(default_factory=dict)
    """Parameters of whose tasks' gradients only these coordinates are kept; what lies in ``.grad`` is kept whole."""
    changes: bool = False
    """Whether the script has changed gradients between backward() and the last step, where nobody asked before it."""
    _number: int = 0
    _orders: Orders = field(default_factory=Orders)

    def __bool__(self) -> bool:
        """Whether any gradient is known of that no step has used."""
        return any((account.held and not account.stepped) or account.aside for account in self.accounts.values())

    @property
    def sharing(self) -> set[GradientOf]:
        """Parts that share a parameter with another: by the steps that were taken, before any by the passes made."""
        return self.shared or self.met

    def sharing_with(self, parts: Mapping[Tensor, Iterable[GradientOf]]) -> set[GradientOf]:
        """The same when parameters are stepped by these parts now, whatever has stepped them before."""
        together = []
        for p, each in parts.items():
            if now := self._reaching(p, each):
                of = now | self.moved_by.get(p, set())
                together += [of] if len(of) > 1 else []
        return self.sharing.union(*together)

    def moved(self, parts: Mapping[Tensor, Iterable[GradientOf]]) -> None:
        """An optimizer has stepped these parameters by the gradients of these parts."""
        for p, each in parts.items():
            known = self.moved_by.setdefault(p, set())
            known |= self._reaching(p, each)
            if len(known) > 1:
                self.shared |= known

    def _reaching(self, parameter: Tensor, parts: Iterable[GradientOf]) -> set[GradientOf]:
        # All zero says nothing: one node of a compiled graph gives every head a gradient of every loss.
        return set(parts) & self.reached.get(parameter, set())

    def half_averaged(self, parameters: Iterable[Tensor]) -> bool:
        """Whether gradients of this process alone have been added to means over several, in any of these."""
        if not self.averaged:
            return False
        known = [self.accounts[p] for p in parameters if p in self.accounts]
        held = [account.held_by for account in known if account.held]
        return any(numbers & self.averaged and max(numbers) not in self.averaged for numbers in held)

    def held(self, parameter: Tensor) -> bool:
        """Whether anything is known of what lies in a parameter's ``.grad``."""
        account = self.accounts.get(parameter)
        return account is not None and bool(account.held)

    def cleared(self, parameter: Tensor) -> bool:
        """Whether no gradient lies in ``.grad``, since ``look``: it is not there, or has been set to zero."""
        if parameter.grad is None:
            return True
        account = self.accounts.get(parameter)
        return account is not None and account.left is None and not nonzero(self._raw(parameter, parameter.grad))

    # What the script does to the gradients

    def enter(
        self,
        made: Pass,
        parameters: Iterable[Tensor],
        *,
        more: bool = False,
        hooked: bool = False,
        averaged: bool = False,
    ) -> None:
        """A backward() has added its gradients to ``.grad`` of these parameters.

        Args:
            made: the pass.
            parameters: of the accounts that it touches.
            more: the pass is known, and these are further parameters of it.
            hooked: hooks of the script, which our own passes do not call, may have changed what came.
            averaged: its gradients are means over the processes of the training.
        """
        if not more:
            self._know(made)
        if averaged:
            self.averaged.add(self._number)
        for p in parameters:
            parts = self._parts(made, p)
            if p.grad is None or not (parts or p in self.accounts):
                continue
            account = self.accounts.setdefault(p, Account())
            now = self.as_kept(p, p.grad)
            if parts:
                own = p._backward_hooks or p._post_accumulate_grad_hooks
                came = self._account_at(p, account), self.at(p, now)
                add(account.held, _as_they_came(p, parts, *came) if hooked or own else parts)
                account.held_by.add(self._number)
                account.stepped = False
            if (parts or account.known) and (account.left is None or not same(account.left, now)):
                account.left = now.clone()

    def take(self, made: Pass) -> None:
        """Gradients were taken with autograd.grad: ``.grad`` does not hold them."""
        self._know(made)
        for p in made.parameters:
            account = self.accounts.setdefault(p, Account())
            add(account.aside, self._parts(made, p))
            account.aside_by.add(self._number)

    def feed(self, made: Pass) -> None:
        """A step is given these gradients and no others."""
        self._know(made)
        for p in made.parameters:
            parts = self._parts(made, p)
            account = self.accounts[p] = Account(parts, held_by={self._number})
            whole = list(made.parts(p).values())
            account.left = total(whole) if len(whole) > 1 else whole[0]
            self.given.add(p)

    def asked(self, parameters: Iterable[Tensor] | None = None) -> Iterator[answers.Asked]:
        """What ``look``, ``read``, ``stepped`` and a step ask of the gradients of these; None: of all accounts."""
        for p in self.accounts if parameters is None else parameters:
            account = self.accounts.get(p)
            if account is None or account.left is None or p in self.given or p in self.by_rows:
                continue
            yield answers.NONZERO, account.left
            if p.grad is not None and p.grad.layout == torch.strided:
                yield answers.NONZERO, p.grad.detach()
                yield answers.SAME, p.grad.detach(), account.left

    def look(self) -> bool:
        """See what the script has done to ``.grad`` since the last pass: zeroed it, or rescaled it.

        Returns whether gradients that are not finite were zeroed without a step, as GradScaler does.
        """
        overflow = False
        for p, account in self.accounts.items():
            left = account.left
            if left is None or p in self.given:
                continue
            if p.grad is None or not nonzero(self._raw(p, p.grad)):
                if nonzero(left):
                    numbers = left.values() if left.is_sparse else left
                    overflow |= not account.stepped and not bool(torch.isfinite(numbers).all())
                    account.empty()
                else:
                    # It was zero from the start: whether it was zeroed makes no difference to any gradient.
                    account.drop()
            elif not account.held or self._lies(p, left):
                account.known = True
            else:
                now = self.as_kept(p, p.grad)
                factor = factors({p: now}, {p: left})[p] if p.numel() > 1 else None
                account.known = factor is not None
                if factor is not None:
                    kept = self._factor_at(p, factor)
                    account.held = {part: gradient * kept for part, gradient in account.held.items()}
                    account.left = now.clone()
        return overflow

    def look_after(self, made: Pass) -> None:
        """The same where the gradients of a pass are in ``.grad`` already: what was stepped by may have been zeroed."""
        for p, account in self.accounts.items():
            left, fresh = account.left, [self.at(p, dense(g)) for g in made.parts(p).values()]
            if account.stepped and left is not None and fresh and p.grad is not None:
                new, now, left = total(fresh), self.at(p, dense(p.grad.detach())), self.at(p, dense(left))
                if torch.linalg.vector_norm(now - new) <= torch.linalg.vector_norm(now - new - left):
                    account.drop()

    def drop_held(self) -> None:
        """Another evaluation of a closure begins: the gradients of the one before are no part of it."""
        for p, account in self.accounts.items():
            if account.left is not None and (p.grad is None or not nonzero(self._raw(p, p.grad))):
                account.drop()

    def stepped(self, parameters: Iterable[Tensor]) -> None:
        """An optimizer has stepped by the gradients of these parameters."""
        for p in parameters:
            account = self.accounts.get(p)
            if account is None:
                continue
            left = account.left
            if p in self.given or left is None or not self._lies(p, left):
                # What lies in .grad from here on is something else, or nothing.
                del self.accounts[p]
            else:
                account.aside, account.aside_by, account.stepped = {}, set(), True
        self.given.clear()

    def close_step(self) -> None:
        """The training step is over; what lies in ``.grad`` still may serve a later one."""
        self.passes = {}
        if self.averaged:
            self.averaged &= {number for account in self.accounts.values() for number in account.held_by}

    def clear(self) -> None:
        """Forget everything."""
        self.accounts, self.passes, self.given = {}, {}, set()

    def copy(self) -> Ledger:
        """The books as they stand."""
        accounts = {
            p: dataclasses.replace(
                account,
                held=dict(account.held),
                aside=dict(account.aside),
                held_by=set(account.held_by),
                aside_by=set(account.aside_by),
            )
            for p, account in self.accounts.items()
        }
        return dataclasses.replace(self, accounts=accounts, passes=dict(self.passes), given=set(self.given))

    def rows(self, parameter: Tensor, fed: Tensor) -> Tensor:
        """The rows that a step which is fed this gradient of rows is split on: its own, and those of its parts."""
        account = self.accounts.get(parameter)
        return rows_of([fed, *([] if account is None else account.rows)])

    def keep_rows(self, parameter: Tensor) -> None:
        """From here on only the rows of its gradients are kept that they hold."""
        self.by_rows.add(parameter)
        if parameter in self.accounts:
            self.accounts[parameter] = self.accounts[parameter].turned(self._orders.as_rows)

    def keep_whole(self, parameter: Tensor) -> None:
        """From here on its gradients are kept whole."""
        self.by_rows.discard(parameter)
        if parameter in self.accounts:
            self.accounts[parameter] = self.accounts[parameter].turned(dense)

    def as_kept(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """A gradient of this parameter as accounts hold it."""
        return self._orders.as_rows(gradient) if parameter in self.by_rows else dense(gradient.detach())

    def _raw(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The numbers of the same as they are: in half precision they need no copy to be looked at."""
        strided = gradient.layout == torch.strided and parameter not in self.by_rows
        return gradient.detach() if strided else self.as_kept(parameter, gradient)

    def _lies(self, parameter: Tensor, gradient: Tensor) -> bool:
        """Whether this, as accounts hold it, is what lies in a parameter's ``.grad``."""
        if parameter.grad is None:
            return False
        told = answers.of(answers.SAME, self._raw(parameter, parameter.grad), gradient)
        return same(self.as_kept(parameter, parameter.grad), gradient) if told is None else bool(told[0])

    def _parts(self, made: Pass, parameter: Tensor) -> dict[GradientOf, Tensor]:
        parts = made.parts(parameter)
        if parameter in self.sampled:
            return {part: self.at(parameter, g) for part, g in parts.items()}
        return {part: self._orders.as_rows(g) for part, g in parts.items()} if parameter in self.by_rows else parts

    def sample(self, parameter: Tensor, index: Tensor) -> None:
        """From here on the tasks' gradients of this parameter are kept at these coordinates alone."""
        self.sampled[parameter] = index
        if (account := self.accounts.get(parameter)) is not None:
            turned = account.turned(lambda gradient: self.at(parameter, gradient))
            turned.left = account.left
            self.accounts[parameter] = turned

    def at(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """A gradient, at the coordinates that are kept of the tasks' gradients; all of it where these are whole."""
        index = self.sampled.get(parameter)
        return gradient if index is None else picked(gradient, index, parameter.numel())

    def accounts_at(self, parameters: Iterable[Tensor]) -> dict[Tensor, Account]:
        """Of these parameters the accounts, with what was left in ``.grad`` at the coordinates that are kept."""
        nothing = Account()
        return {p: self._account_at(p, self.accounts.get(p, nothing)) for p in parameters}

    def _account_at(self, parameter: Tensor, account: Account) -> Account:
        if parameter not in self.sampled or account.left is None:
            return account
        return dataclasses.replace(account, left=self.at(parameter, account.left))

    def _factor_at(self, parameter: Tensor, factor: Tensor | float) -> Tensor | float:
        return self.at(parameter, factor) if isinstance(factor, Tensor) and factor.numel() > 1 else factor

    def products(self, parameter: Tensor) -> TaskProducts | None:
        """What is known of the tasks' gradients of a parameter besides the coordinates that are kept, where one pass
        made them."""
        account = self.accounts.get(parameter)
        if account is None or account.aside or len(account.held_by) != 1:
            return None
        made = self.passes.get(next(iter(account.held_by)))
        return None if made is None else made.products.get(parameter)

    def closed(self, parameter: Tensor, total: Tensor) -> bool:
        """Whether the tasks' gradients of a parameter were made to add up to this, which lies in ``.grad``."""
        account = self.accounts.get(parameter)
        if account is None or account.left is not total or account.aside or len(account.held_by) != 1:
            return False
        made = self.passes.get(next(iter(account.held_by)))
        return made is not None and parameter in made.closed

    def _know(self, made: Pass) -> None:
        self._number += 1
        self.passes[self._number] = made
        for task, gradients in made.gradients.items():
            for p, gradient in gradients.items():
                self.reaches(made.part(task), p, gradient)
        for task in made.gradients:
            self.tasks.setdefault(made.part(task).root, set()).add(task)
        if made.expanded:
            self.expanded.add(made.root)

    def reaches(self, part: GradientOf, parameter: Tensor, gradient: Tensor) -> None:
        """A pass has given a parameter this gradient."""
        reached = self.reached.setdefault(parameter, set())
        # All zero says nothing: one node of a compiled graph gives every head a gradient of every loss.
        if part not in reached and nonzero(gradient):
            reached.add(part)
            if len(reached) > 1:
                self.met |= reached

    def read(self, parameters: Iterable[Tensor], grad_scale: float = 1.0, *, ask: bool = True) -> dict[Tensor, Tensor]:
        """The gradients that a step now would be fed: copies, which the step cannot change.

        Args:
            parameters: those that the optimizer steps.
            grad_scale: factor on ``.grad`` that the optimizer itself will take out of it (fused with GradScaler).
            ask: False copies those on a device that is waited for, whether they are as backward() left them or not.
        """
        totals = {}
        for p in parameters:
            account = self.accounts.get(p)
            left = None if account is None else account.left
            if p in self.given and left is not None:
                totals[p] = left
            elif p.grad is not None:
                asks = ask or grad_scale != 1.0 or p in self.by_rows or not answers.waits(p.grad)
                lies = asks and left is not None and self._lies(p, left)
                kept = left if left is not None and lies else self.as_kept(p, p.grad).clone()
                totals[p] = kept if grad_scale == 1.0 else kept / grad_scale
        return totals

    def left_alone(self, totals: dict[Tensor, Tensor]) -> None:
        """Of gradients that were copied without asking, put what backward() left in the place of those that are it."""
        self.changes = False
        for p, fed in totals.items():
            left = self.accounts[p].left if p in self.accounts else None
            if left is None or left is fed or (told := answers.of(answers.SAME, fed, left)) is None:
                continue
            if told[0]:
                totals[p] = left
            else:
                self.changes = True
