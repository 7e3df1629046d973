"""Master copies: an optimizer steps tensors of its own, which the script fills with the model's gradients."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable

import torch
from torch import Tensor

from dominance.record.guest.hooks import dense
from dominance.record.parameters import ParameterTable
from dominance.record.split.ledger import Account, Ledger
from dominance.record.split.rescaling import alike, factors

_MOST_MET = 256


class Copies:
    """Which tensors of an optimizer stand for which parameters of the model, found by their gradients.

    Mixed precision by hand keeps the weights in float32 beside a half-precision model (apex O2): backward() fills the
    model, the script copies each gradient, perhaps unscaled, to the copy of the same shape, and the optimizer steps the
    copies. What is in the model's account is then what the copy is fed, and the copy goes by the parameter's name.
    """

    def __init__(self, ledger: Ledger, table: ParameterTable) -> None:
        self._ledger = ledger
        self._table = table
        self._met: dict[int, weakref.ref[Tensor]] = {}
        """Leaves of graphs that no model owns, by id."""

    def meet(self, leaves: Iterable[Tensor]) -> None:
        """A backward() goes to these: what it fills itself, as the weights of losses that are trained, is no copy."""
        new = [leaf for leaf in leaves if not self._is_met(leaf) and not self._table.owned(leaf)]
        self._met |= {id(leaf): weakref.ref(leaf) for leaf in new}
        if len(self._met) > _MOST_MET:
            self._met = {key: each for key, each in self._met.items() if each() is not None}

    def _is_met(self, leaf: Tensor) -> bool:
        known = self._met.get(id(leaf))
        return known is not None and known() is leaf

    def fill(self, parameters: Iterable[Tensor]) -> None:
        """Give each copy among ``parameters`` the account of the parameter that it stands for.

        A tensor that no model owns and no pass has reached is a copy if its gradient is a multiple of the one that
        backward() left in a parameter of the same shape.
        """
        new: list[Tensor] = []
        for p in parameters:
            known = self._ledger.originals.get(p)
            if known is not None:
                self._put(p, known)
            elif p.grad is not None and not (self._table.owned(p) or self._ledger.held(p) or self._is_met(p)):
                new.append(p)
        # Of one number any other is a multiple: which factor it can be is known from the larger ones. Without one it is
        # no copy, but what a loss of its own trains, as the temperature of an actor.
        for p in sorted(new, key=lambda each: each.numel() == 1):
            original = self._original(p)
            if original is not None:
                self._put(p, original)
                self._ledger.originals[p] = original
                self._table.stand_in(p, original)

    def _original(self, copy: Tensor) -> Tensor | None:
        """The parameter that a copy stands for: of several that may be, one that it has the value of."""
        known = self._factors() if copy.numel() == 1 else []
        if copy.numel() == 1 and not known:
            return None
        taken = {id(each) for each in self._ledger.originals.values()}
        free = [each for each in self._ledger.accounts if id(each) not in taken and _filled(copy, each, self._ledger)]
        same = [each for each in free if torch.equal(copy.detach().to(each.device, each.dtype), each.detach())]
        if copy.grad is None or not copy.grad.any():
            # A gradient of zeros is every other's multiple.
            return same[0] if len(same) == 1 else None
        free = [each for each in free if self._factor(copy, each) != 0]
        if copy.numel() == 1:
            free = [each for each in free if any(alike(self._factor(copy, each), factor) for factor in known)]
        return next((each for each in same if any(each is one for one in free)), free[0] if free else None)

    def _factors(self) -> list[float]:
        """What the gradients of larger copies are multiples of the originals' by."""
        larger = [(p, original) for p, original in self._ledger.originals.items() if p.numel() > 1]
        return [self._factor(p, original) for p, original in larger if p.grad is not None and p.grad.any()]

    def _factor(self, copy: Tensor, original: Tensor) -> float:
        account = self._ledger.accounts.get(original)
        if copy.grad is None or account is None or account.left is None:
            return math.nan
        now, left = dense(copy.grad.detach()).double(), account.left.double().to(copy.grad.device)
        square = float((left * left).sum())
        return float((now * left).sum()) / square if square else 0.0

    def _put(self, copy: Tensor, original: Tensor) -> bool:
        filled = _filled(copy, original, self._ledger)
        if filled is not None:
            self._ledger.accounts[copy] = filled
            self._ledger.reached[copy] = self._ledger.reached.get(original, set())
        return filled is not None

    def stepped(self, parameters: Iterable[Tensor]) -> list[Tensor]:
        """The parameters whose copies an optimizer has stepped."""
        return [self._ledger.originals[p] for p in parameters if p in self._ledger.originals]


def _filled(copy: Tensor, original: Tensor, ledger: Ledger) -> Account | None:
    """The account of a copy; None where its gradient is not the original's."""
    account = ledger.accounts.get(original)
    if copy.grad is None or account is None or account.left is None or not account.held or original is copy:
        return None
    if copy.shape != original.shape:
        return None
    now = dense(copy.grad.detach())
    left = account.left.to(now.dtype)
    factor = factors({copy: now}, {copy: left})[copy]
    if not isinstance(factor, float):
        return None
    # The factor is found again when the step is split, as any other.
    held = {part: gradient.to(now.dtype) for part, gradient in account.held.items()}
    return Account(held, held_by=set(account.held_by), left=left)
