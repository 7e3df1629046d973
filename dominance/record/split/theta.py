"""What the parameters did between the steps: everything that moved them and was no optimizer's step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.compare import differ_at_first, same


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
    _stayed: set[Tensor] = field(default_factory=set)
    """Parameters that ``outside`` has found where their step left them."""

    @torch.no_grad()
    def begin(self, parameters: Iterable[Tensor]) -> None:
        """A training step begins; parameters that are known since its start keep the value they had then."""
        for p in parameters:
            if p not in self.start and not p.is_complex():
                self.start[p] = p.detach().clone()

    @torch.no_grad()
    def before_step(self, parameters: Iterable[Tensor]) -> None:
        """An optimizer is about to step these."""
        for p in parameters:
            start = self.start.get(p)
            self.before.pop(p, None)
            if start is not None and not unmoved(p, start):
                self.before[p] = p.detach().clone()

    def now(self, parameters: Iterable[Tensor]) -> dict[Tensor, Tensor]:
        """The copies kept of these, as they are before the step that is to come."""
        return {p: self.before.get(p, self.start[p]) for p in parameters if p in self.start}

    @torch.no_grad()
    def after_step(self, parameters: Iterable[Tensor]) -> bool:
        """It has stepped. Returns whether any of them moved."""
        moved = False
        for p in parameters:
            start = self.start.get(p)
            if start is not None:
                before = self.before.get(p, start)
                stayed = unmoved(p, before)
                moved |= not stayed
                self.after[p] = before if stayed else p.detach().clone()
        return moved

    @torch.no_grad()
    def outside(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Parameters that moved besides: by how much, and the step that their optimizer took. In float32 at least."""
        for p, start in self.start.items():
            before = self.before.get(p, start)
            after = self.after.get(p, before)
            if unmoved(p, after):
                self._stayed.add(p)
                if before is start:
                    continue
            moved = _minus(before, start) + _minus(p.detach(), after)
            if moved.any():
                yield p, moved, _minus(after, before)

    def next(self, *, keep: bool) -> None:
        """The training step is over; since ``outside`` was drawn nothing has moved.

        Args:
            keep: its end as the start of the next one, where that is recorded too.
        """
        ends = {p: self.after.get(p, start) for p, start in self.start.items()} if keep else {}
        self.start = {p: end if p in self._stayed or unmoved(p, end) else p.detach().clone() for p, end in ends.items()}
        self.before, self.after, self._stayed = {}, {}, set()


def unmoved(parameter: Tensor, value: Tensor) -> bool:
    """Whether a parameter has this value, to the bit; NaN is equal to NaN."""
    now = parameter.detach()
    if now.shape != value.shape or now.dtype != value.dtype or now.device != value.device:
        return False
    if differ_at_first(now, value):
        return False
    return same(now, value) or (
        not bool(torch.isfinite(value).all()) and torch.equal(now.nan_to_num(), value.nan_to_num())
    )


def _minus(value: Tensor, other: Tensor) -> Tensor:
    if value.shape != other.shape:
        return torch.full(value.shape, torch.nan, device=value.device)
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    return torch.nan_to_num(value.to(wide) - other.to(value.device, wide), nan=0.0, posinf=0.0, neginf=0.0)
