"""Steps by an unknown rule, measured: is one a fixed combination of the gradient, the weights and the last step?

That is what plain descent, weight decay and momentum come to, whoever writes them: the step of a parameter is fitted,
and the fit counts where it holds in every number up to the rounding of the weights. Then the step is linear in its
gradients, and comes apart into the tasks' parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """A step is -rate x gradient - decay x weights + momentum x last step."""

    rate: float
    decay: float = 0.0
    momentum: float = 0.0


_BASES = ((0,), (0, 1), (0, 2), (0, 1, 2))
"""Which of the three a step is fitted by, the plainest first."""
_LOST = 0.25
"""Largest share of the step's square that rounding may have taken: far below the spacing of theta any fit holds."""
_SINGLE = 1e-5
"""Spacing of numbers from which on a fit needs more of them."""


@dataclass
class Candidate:
    """A move of one parameter that may be its step."""

    before: Tensor
    after: Tensor
    fed: Tensor
    last: Tensor | None
    """The step before this one, where it is known."""


@dataclass
class Measured:
    """Which move is the step, and what it is made of."""

    candidate: Candidate
    coefficients: Coefficients
    whole: bool
    """Whether that is the whole move; else something else has moved some of the numbers as well."""


class _Numbers:
    """A candidate, or several parameters' candidates together, in double precision."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        def row(tensors: Sequence[Tensor]) -> Tensor:
            return torch.cat([tensor.detach().double().reshape(-1) for tensor in tensors])

        before, after = row([c.before for c in candidates]), row([c.after for c in candidates])
        self.eps = max(torch.finfo(c.before.dtype).eps for c in candidates)
        self.step = after - before
        last = [c.last for c in candidates if c.last is not None]
        self.columns = [-row([c.fed for c in candidates]), -before]
        self.columns += [row(last)] if len(last) == len(candidates) else []
        self._spacing = self.eps * torch.maximum(before.abs(), after.abs())

    def rounding(self, basis: Sequence[int]) -> Tensor:
        """How far each number may be from the fit by rounding alone."""
        return self._spacing * (2 if 2 in basis else 1) + 4 * min(self.eps, _SINGLE) * self.step.abs()

    def off(self, coefficients: Coefficients) -> Tensor:
        """The step without what it is fitted by."""
        return self.step - sum(c * column for c, column in zip(coefficients, self.columns, strict=False) if c)

    def holds(self, coefficients: Coefficients) -> Tensor:
        """Of each number, whether it is what it should be."""
        basis = [i for i, c in enumerate(coefficients) if c]
        return self.off(coefficients).abs() <= self.rounding(basis)

    def fitted(self) -> Coefficients | None:
        """By the plainest basis that explains every number; None where none does."""
        for basis in _BASES:
            if max(basis) < len(self.columns) and (found := self._solved(basis)) is not None:
                enough = len(basis) + 1 if self.eps < _SINGLE else 8 * len(basis)
                rounding = 3 * self.rounding(basis)
                telling = int((self.step.abs() > rounding).sum())
                lost = float(self.off(found).square().sum()) > _LOST * float(self.step.square().sum())
                # A move that the gradient has no part in, a decay by itself, is no step.
                fed = bool(((found.rate * self.columns[0]).abs() > rounding).any())
                if telling >= enough and fed and not lost and bool(self.holds(found).all()):
                    return found
        return None

    def _solved(self, basis: Sequence[int]) -> Coefficients | None:
        rows = torch.stack([self.columns[i] for i in basis])
        sizes = rows.norm(dim=1)
        if not bool(torch.isfinite(self.step).all()) or not bool((sizes > 0).all() & torch.isfinite(sizes).all()):
            return None
        unit = rows / sizes[:, None]
        gram = unit @ unit.T
        if float(torch.linalg.eigvalsh(gram)[0]) < 1e-9:
            return None
        solved = (torch.linalg.solve(gram, unit @ self.step) / sizes).tolist()
        found = dict(zip(basis, solved, strict=True))
        return Coefficients(found.get(0, 0.0), found.get(1, 0.0), found.get(2, 0.0))

    def rate(self) -> Coefficients | None:
        """By most of the numbers, the others having been moved besides."""
        gradient = -self.columns[0]
        told = self.step.abs() > 3 * self.rounding((0,))
        if int(told.sum()) < 2 or not bool(gradient[told].all()):
            return None
        return Coefficients(float((-self.step[told] / gradient[told]).median()))

    def mostly(self, coefficients: Coefficients) -> bool:
        """Whether most of the numbers that this makes move are where it moves them."""
        moved = (coefficients.rate * self.columns[0]).abs() > 3 * self.rounding((0,))
        holds = self.holds(coefficients)
        told = int(moved.sum())
        return 2 * int((holds & moved).sum()) > told if told > 1 else bool(holds.all())


@torch.no_grad()
def measure(moves: Mapping[Tensor, Sequence[Candidate]]) -> dict[Tensor, Measured]:
    """The parameters whose step is found to be such a combination.

    Parameters of few numbers are fitted together; one that something else has moved as well (a clamp) takes the rate of
    the others, where most of its numbers have it.
    """
    numbers = {p: [_Numbers([c]) for c in each] for p, each in moves.items()}
    found = {p: one for p, each in moves.items() if (one := _fitted(each, numbers[p])) is not None}
    few = {p: each[-1] for p, each in moves.items() if p not in found and each[-1].before.numel() < 8}
    together = _Numbers(list(few.values())).fitted() if few else None
    known = list(dict.fromkeys(each.coefficients for each in found.values()))
    if not known and together is None and moves:
        every = _Numbers([each[-1] for each in moves.values()]).rate()
        known = [every] if every is not None else []
    for p in moves.keys() - found.keys():
        if (one := _as_others(moves[p], numbers[p], known)) is not None:
            found[p] = one
        elif p in few and together is not None:
            found[p] = Measured(few[p], together, True)
    return found


def _fitted(candidates: Sequence[Candidate], numbers: Sequence[_Numbers]) -> Measured | None:
    """The first of a parameter's moves that is such a combination."""
    for candidate, one in zip(candidates, numbers, strict=True):
        if (fit := one.fitted()) is not None:
            return Measured(candidate, fit, True)
    return None


def _as_others(
    candidates: Sequence[Candidate], numbers: Sequence[_Numbers], known: Sequence[Coefficients]
) -> Measured | None:
    """The move that is made of what others' steps are made of; else one of which most numbers have their rate."""
    for candidate, one in zip(candidates, numbers, strict=True):
        for fit in known:
            if (fit.momentum == 0 or len(one.columns) == len(fit)) and one.holds(fit).all():
                return Measured(candidate, fit, True)
    for candidate, one in zip(candidates, numbers, strict=True):
        for fit in dict.fromkeys(Coefficients(fit.rate) for fit in known):
            if one.mostly(fit):
                return Measured(candidate, fit, False)
    return None
