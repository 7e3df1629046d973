"""Steps that a script takes by hand, with no optimizer: what is known of them, and how they are split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record.compare import first_entries
from dominance.record.guest.hooks import dense
from dominance.record.live_objects import anywhere
from dominance.record.rules.linear import full
from dominance.record.rules.pool import Pool
from dominance.record.split.fed import Fed
from dominance.record.split.measured import Candidate, Coefficients, Measured, measure
from dominance.record.split.moves import Move, Moves
from dominance.record.split.splits import GradientSplit, StepSplit, closure_of
from dominance.record.step import learning_rates

NOT_LINEAR = "they are no fixed combination of the gradient, the weights and the last step"
_SAMPLE = 64
"""So many numbers of each parameter tell whether a step was taken that is not recorded."""


class ByHand:
    """The steps of one model that no optimizer takes."""

    def __init__(self) -> None:
        self.possible: bool | None = None
        """Whether they are looked for: no optimizer holds what the losses reach. None: not known yet."""
        self.alone = False
        """Whether no optimizer held a parameter when the first such step had been taken."""
        self.replaces = False
        """Whether new tensors take the parameters' places at each step."""
        self.moves = Moves()
        self.taken: dict[Tensor, list[Tensor]] = {}
        """Gradients that the script took with autograd.grad in this step, as it has them."""
        self.found: Fed | None = None
        """What was fed at the last such step that was split."""
        self.split_steps = 0
        self.unsplit_steps = 0
        """Steps of one parameter that were measured, and that could not be."""
        self.remembers = False
        """Whether the last step goes into the next."""
        self._sample: list[tuple[Tensor, Tensor]] = []
        self._last: dict[Tensor, StepSplit] = {}

    @property
    def stepped(self) -> bool:
        """Whether such steps have been recorded."""
        return self.split_steps + self.unsplit_steps > 0

    @property
    def note(self) -> str:
        """One sentence: how they are split."""
        how = "split additively: measured to be a fixed combination of the gradient, the weights and the last step"
        if self.unsplit_steps:
            how += f"; {self.unsplit_steps} of {self.split_steps + self.unsplit_steps} parameter steps are not split: "
            how += NOT_LINEAR
        return f"steps taken by hand: {how}"

    def describe(self) -> dict[str, Any]:
        """For the run's attributes, as of an optimizer."""
        return {"class": "by hand", "groups": [], "note": self.note}

    def sample(self, parameters: Iterable[Tensor]) -> None:
        """A step begins that is not recorded: keep what tells whether it was taken."""
        if not self._sample:
            self._sample = [(p, _first(p).clone()) for p in parameters]

    @property
    def sample_moved(self) -> bool:
        """Whether it was."""
        return any(not torch.equal(_first(p), value) for p, value in self._sample)

    def fed(self) -> dict[Tensor, Tensor]:
        """The gradients that the parameters were moved by; of one that stayed, what would have moved it."""
        found: dict[Tensor, Tensor] = {}
        for p, each in self.moves.watched.items():
            told = [move.fed for move in each.moves if move.fed is not None]
            mine = each.unused if not each.moves else told[-1] if told else None
            if mine is None and p in self.taken:
                mine = torch.stack([dense(g.detach()) for g in self.taken[p]]).sum(0)
            if mine is not None:
                found[p] = mine
        return found

    def end(self, *, keep: bool) -> None:
        """The training step is over.

        Args:
            keep: its split, where the next one is recorded too.
        """
        self.moves.end()
        self.taken, self._sample = {}, []
        if not keep:
            self._last = {}

    @torch.no_grad()
    def measured(self, fed: Mapping[Tensor, Tensor]) -> dict[Tensor, Measured]:
        """Of the parameters that were fed these, the steps that are found to be linear."""
        moves: dict[Tensor, Sequence[Candidate]] = {}
        for p, gradient in fed.items():
            each = self.moves.watched[p]
            went = [m for m in each.moves if m.fed is not None] or each.moves or [Move(each.value, each.value, None)]
            last = self._last.get(p)
            moves[p] = [
                Candidate(m.before, m.after, gradient if m.fed is None else m.fed, None if last is None else last.total)
                for m in went
            ]
        return measure(moves)

    @torch.no_grad()
    def split(self, p: Tensor, gradient: GradientSplit, of: Measured | None) -> StepSplit:
        """The step of a parameter, in parts where it was measured."""
        each, last = self.moves.watched[p], self._last.pop(p, None)
        if of is None:
            first, end = (each.moves[0].before, each.moves[-1].after) if each.moves else (each.value, each.value)
            split = StepSplit(full(end) - full(first))
            self.unsplit_steps += 1
            self._last[p] = StepSplit(split.total, unattributed=split.total)
            return split
        theta = full(of.candidate.before)
        split = StepSplit(full(of.candidate.after) - theta)
        _add_parts(split, of.coefficients, theta, gradient, last)
        if not of.whole:
            # The rest of the move is something else's.
            split.total = split.total.zero_() + sum(part for part in _parts(split))
        split.closure, split.rounding = closure_of(split, theta, torch.finfo(p.dtype).eps, Pool())
        self.split_steps += 1
        self.remembers |= of.coefficients.momentum != 0
        self._last[p] = split
        return split


def _add_parts(
    split: StepSplit, by: Coefficients, theta: Tensor, gradient: GradientSplit, last: StepSplit | None
) -> None:
    def part(now: Tensor | None, factor: float, before: Tensor | None) -> Tensor | None:
        here = None if now is None or factor == 0 else full(now).to(theta.dtype) * factor
        kept = None if before is None or by.momentum == 0 else before * by.momentum
        return here if kept is None else kept if here is None else here + kept

    before = last if last is not None else StepSplit(theta)
    for task in dict.fromkeys((*before.tasks, *gradient.tasks)):
        share = part(gradient.tasks.get(task), -by.rate, before.tasks.get(task))
        if share is not None:
            split.tasks[task] = share
    split.residual = part(gradient.residual, -by.rate, before.residual)
    split.decay = part(theta, -by.decay, before.decay)
    split.unattributed = part(None, 0.0, before.unattributed)


def _parts(split: StepSplit) -> list[Tensor]:
    every = (*split.tasks.values(), split.residual, split.unattributed, split.decay)
    return [part for part in every if part is not None]


def held_by_an_optimizer(parameters: Iterable[Tensor], known: Iterable[Optimizer] | None = None) -> bool:
    """Whether an optimizer of the program, or of those known, holds one of these.

    Args:
        parameters: any.
        known: None: all there are in memory.
    """
    mine = {id(p) for p in parameters}
    if known is None:
        known = anywhere(lambda kind: issubclass(kind, Optimizer))
    return any(
        id(p) in mine for optimizer in known if hasattr(optimizer, "param_groups") for p in learning_rates(optimizer)
    )


def _first(p: Tensor) -> Tensor:
    return first_entries(p.detach(), _SAMPLE)
