"""Master copies: an optimizer steps tensors of its own, which the script fills with the model's gradients."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from dominance.record.hooks import dense
from dominance.record.ledger import Account, Ledger
from dominance.record.parameters import ParameterTable
from dominance.record.rescaling import factors


class Copies:
    """Which tensors of an optimizer stand for which parameters of the model, found by their gradients.

    Mixed precision by hand keeps the weights in float32 beside a half-precision model (apex O2): backward() fills the
    model, the script copies each gradient, perhaps unscaled, to the copy of the same shape, and the optimizer steps the
    copies. What is in the model's account is then what the copy is fed, and the copy goes by the parameter's name.
    """

    def __init__(self, ledger: Ledger, table: ParameterTable) -> None:
        self._ledger = ledger
        self._table = table

    def fill(self, parameters: Iterable[Tensor]) -> None:
        """Give each copy among ``parameters`` the account of the parameter that it stands for.

        A tensor that no model owns and no pass has reached is a copy if its gradient is a multiple of the one that
        backward() left in a parameter of the same shape.
        """
        for p in parameters:
            known = self._ledger.originals.get(p)
            if known is not None:
                self._put(p, known)
            elif p.grad is not None and not self._table.owned(p) and not self._ledger.held(p):
                taken = self._ledger.originals.values()
                others = [each for each in self._ledger.accounts if not any(each is one for one in taken)]
                original = next((each for each in others if self._put(p, each)), None)
                if original is not None:
                    self._ledger.originals[p] = original
                    self._table.stand_in(p, original)

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
    if not isinstance(factor, float) or (factor == 1.0 and not bool(left.any())):
        return None
    # The factor is found again when the step is split, as any other.
    held = {part: gradient.to(now.dtype) for part, gradient in account.held.items()}
    return Account(held, held_by=set(account.held_by), left=left)
