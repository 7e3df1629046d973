"""What the parameters did between the steps: everything that moved them and was no optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.compare import differ_at_first, same

_FEW = 256
"""Rows of a large table that are looked at besides those that a step moves."""


@dataclass
class TableRows:
    """Some rows of a parameter in a training step."""

    numbers: Tensor
    start: Tensor
    before: Tensor
    """Before the optimizer's step."""
    after: Tensor | None = None

    def besides(self, now: Tensor) -> tuple[Tensor, Tensor]:
        """By how much they moved until now besides the step, and by it."""
        after = self.before if self.after is None else self.after
        return _minus(self.before, self.start) + _minus(now, after), _minus(after, self.before)


@dataclass
class Theta:
    """The values of the parameters at the start of a training step and around the optimizer's steps in it.

    A pull by Lookahead, a clamp, a swap of weights, a re-load: what theta did from the start of one training step to
    the start of the next, beyond the optimizer's steps, is ``outside``, exact, and zero to the bit where nothing did.
    """

    start: dict[Tensor, Tensor] = field(default_factory=dict)
    before: dict[Tensor, Tensor] = field(default_factory=dict)
    """Before the step, where it is not as at the start."""
    after: dict[Tensor, Tensor] = field(default_factory=dict)
    by_rows: set[Tensor] = field(default_factory=set)
    """Parameters of which only the rows are looked at that the gradient of a step holds, and a few others."""
    sampled: Container[Tensor] = ()
    """Parameters of whose steps no copy is kept once they have been split: their start is then where the step ended."""
    _pulled: dict[Tensor, Tensor] = field(default_factory=dict)
    """By how much these had moved before their step besides."""
    _unasked: set[Tensor] = field(default_factory=set)
    """Parameters that were copied before the step without asking whether they were as at the start."""
    _rows: dict[Tensor, TableRows] = field(default_factory=dict)
    """Of these, the rows that are stepped in this training step."""
    _stayed: set[Tensor] = field(default_factory=set)
    """Parameters that ``outside`` has found where their step left them."""
    _few: dict[Tensor, Tensor] = field(default_factory=dict)
    """The few other rows."""

    @torch.no_grad()
    def begin(self, parameters: Iterable[Tensor]) -> None:
        """A training step begins; parameters that are known since its start keep the value they had then."""
        for p in parameters:
            if p not in self.start and not p.is_complex():
                self.start[p] = p.detach().clone()

    @torch.no_grad()
    def before_step(
        self, parameters: Iterable[Tensor], rows: Mapping[Tensor, Tensor] | None = None, *, ask: bool = True
    ) -> None:
        """An optimizer is about to step these; of some these rows only.

        Args:
            parameters: those.
            rows: the rows.
            ask: False copies those on a device that is waited for, and asks of the copies in ``after_step``.
        """
        rows = rows or {}
        for p in parameters:
            start = self.start.get(p)
            if p in self.by_rows:
                if start is not None and p in rows:
                    self._rows[p] = TableRows(rows[p], _rows_of(start, rows[p]), _rows_of(p, rows[p]))
                continue
            self.before.pop(p, None)
            self._unasked.discard(p)
            if start is None:
                continue
            if not ask and answers.waits(p):
                self.before[p] = p.detach().clone()
                self._unasked.add(p)
            elif not unmoved(p, start):
                self.before[p] = p.detach().clone()

    def asked(self, parameters: Iterable[Tensor], *, stepped: bool = False) -> Iterator[answers.Asked]:
        """What ``before_step`` asks of these, or, where they have been stepped, ``after_step``."""
        for p in parameters:
            start = self.start.get(p)
            if start is not None and p not in self.by_rows:
                yield answers.SAME, p.detach(), self.before.get(p, start) if stepped else start
                if stepped and p in self._unasked:
                    yield answers.SAME, self.before[p], start

    def asked_outside(self) -> Iterator[answers.Asked]:
        """What ``outside`` asks."""
        for p, start in self.start.items():
            if p not in self.by_rows:
                yield answers.SAME, p.detach(), self.after.get(p, self.before.get(p, start))

    def now(self, parameters: Iterable[Tensor]) -> dict[Tensor, Tensor]:
        """The copies kept of these, as they are before the step that is to come; of some their rows."""
        whole = {p: self.before.get(p, self.start[p]) for p in parameters if p in self.start}
        return whole | {p: rows.before for p, rows in self._rows.items() if p in whole}

    @torch.no_grad()
    def after_step(self, parameters: Iterable[Tensor]) -> bool:
        """It has stepped. Returns whether any of them moved."""
        moved = False
        for p in parameters:
            start = self.start.get(p)
            if p in self._rows:
                rows = self._rows[p]
                rows.after = _rows_of(p, rows.numbers)
                moved |= not same(rows.after, rows.before)
            elif start is not None and p not in self.by_rows:
                before = self.before.get(p, start)
                if p in self._unasked and unmoved(before, start):
                    self.start[p] = self.before.pop(p)  # the same numbers: one copy of them does
                self._unasked.discard(p)
                stayed = unmoved(p, before)
                moved |= not stayed
                if p not in self.sampled:
                    self.after[p] = before if stayed else p.detach().clone()
        return moved

    @torch.no_grad()
    def settle(self, parameters: Iterable[Tensor]) -> None:
        """Their steps have been split, and nothing has moved since ``after_step``."""
        for p in parameters:
            start = self.start.get(p)
            if start is None or p not in self.sampled or p in self.by_rows:
                continue
            if (before := self.before.pop(p, start)) is not start:
                self._pulled[p] = _minus(before, start)
            if start.shape == p.shape and start.dtype == p.dtype and start.device == p.device:
                start.copy_(p)
            else:
                self.start[p] = p.detach().clone()

    @torch.no_grad()
    def outside(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]:
        """Parameters that moved besides: by how much, and the step that their optimizer took. In float32 at least.

        The step is None where no copy of it was kept. Last come the rows that these are of; None: all.
        """
        for p, start in self.start.items():
            if p in self.by_rows:
                yield from self._outside_rows(p, start)
                continue
            if p in self.sampled and p not in self.after:
                yield from self._outside_sampled(p, start)
                continue
            before = self.before.get(p, start)
            after = self.after.get(p, before)
            if unmoved(p, after):
                self._stayed.add(p)
                if before is start:
                    continue
            moved = _minus(before, start) + _minus(p.detach(), after)
            if moved.any():
                yield p, moved, _minus(after, before), None

    def _outside_sampled(
        self, p: Tensor, start: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]:
        pulled = self._pulled.get(p)
        if unmoved(p, start):
            self._stayed.add(p)
            if pulled is None:
                return
        moved = _minus(p.detach(), start)
        if pulled is not None and pulled.shape == moved.shape:
            moved += pulled
        if moved.any():
            yield p, moved, None, None

    def _outside_rows(self, p: Tensor, start: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]:
        """The same of a parameter of which some rows are looked at; its start is then the next step's.

        A row that was moved besides the steps and is none of those looked at is found out when a step comes to it. What
        moves them all, like a swap of weights, is found out by the few.
        """
        self._stayed.add(p)
        rows, few = self._rows.get(p), self._few_of(p)
        found = None
        if rows is not None:
            now = _rows_of(p, rows.numbers)
            start.index_copy_(0, rows.numbers, now)
            found = (*rows.besides(now), rows.numbers)
        if not same(_rows_of(p, few), _rows_of(start, few)):
            moved = _minus(p.detach(), start)
            taken = torch.zeros_like(moved)
            if found is not None:
                moved.index_copy_(0, found[2], found[0])
                taken.index_copy_(0, found[2], found[1])
            start.copy_(p.detach())
            yield p, moved, taken, None
        elif found is not None and found[0].any():
            yield p, *found

    def _few_of(self, p: Tensor) -> Tensor:
        if p not in self._few:
            # A generator of its own: the script's random numbers stay as they are.
            few = torch.randint(len(p), (_FEW,), generator=torch.Generator().manual_seed(0), device="cpu")
            self._few[p] = few.to(p.device)
        return self._few[p]

    def next(self, *, keep: bool) -> None:
        """The training step is over; since ``outside`` was drawn nothing has moved.

        Args:
            keep: its end as the start of the next one, where that is recorded too.
        """
        ends = {p: self.after.get(p, start) for p, start in self.start.items()} if keep else {}
        self.start = {
            p: end if p in self._stayed or (p not in self.by_rows and unmoved(p, end)) else p.detach().clone()
            for p, end in ends.items()
        }
        self.before, self.after, self._stayed, self._rows, self._pulled = {}, {}, set(), {}, {}
        self._unasked = set()


def unmoved(parameter: Tensor, value: Tensor) -> bool:
    """Whether a parameter has this value, to the bit; NaN is equal to NaN."""
    now = parameter.detach()
    if now.is_sparse:
        return same(now, value)
    if now.shape != value.shape or now.dtype != value.dtype or now.device != value.device:
        return False
    if (told := answers.of(answers.SAME, now, value)) is not None:
        return bool(told[0])
    if differ_at_first(now, value):
        return False
    if same(now, value):
        return True
    # A sum that is finite is of finite numbers; most are.
    return not math.isfinite(value.sum().item()) and torch.equal(now.nan_to_num(), value.nan_to_num())


def _rows_of(table: Tensor, rows: Tensor) -> Tensor:
    return table.detach().index_select(0, rows)


def _minus(value: Tensor, other: Tensor) -> Tensor:
    if value.shape != other.shape:
        return torch.full(value.shape, torch.nan, device=value.device)
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    return torch.nan_to_num(value.to(wide) - other.to(value.device, wide), nan=0.0, posinf=0.0, neginf=0.0)
