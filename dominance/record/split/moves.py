"""What moves the parameters of a training whose steps the script takes by hand, and by which gradients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dominance.record.compare import nonzero
from dominance.record.guest.grad_access import grad_of
from dominance.record.guest.hooks import dense
from dominance.record.split.theta import unmoved

_MOST = 8
"""Moves of one parameter within a step that are told apart; later ones are added to the last."""
_SMALL = 4096
"""Gradients of so many numbers are copied where it may not be needed."""


@dataclass
class Move:
    """A parameter went from one value to another, all at once or nearly."""

    before: Tensor
    after: Tensor
    fed: Tensor | None
    """What its ``.grad`` held then; None: nothing, or zeros."""


@dataclass
class Watching:
    """One parameter since the start of the training step."""

    value: Tensor
    """When it was looked at last."""
    moves: list[Move] = field(default_factory=list)
    seen: Tensor | None = None
    """Its gradient, when it had not moved yet."""
    version: int = 0
    copy: Tensor | None = None

    @property
    def unused(self) -> Tensor | None:
        """The gradient of a parameter that has not moved, also where the script has emptied it since."""
        if self.seen is not None and self.seen._version == self.version:
            return dense(self.seen.detach())
        return self.copy


class Moves:
    """Looks at a parameter whenever the script touches its gradient or, next, another's: what has moved it in between.

    A step by hand reads a gradient, moves the parameter and goes on to the next one; later the gradient is emptied. So
    the gradient found when a parameter has moved is the one that moved it, whatever the script had done to it before.
    """

    def __init__(self) -> None:
        self.watched: dict[Tensor, Watching] = {}
        self._last: Tensor | None = None

    def begin(self, values: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Look at these parameters as well, which had these values at the start of the training step."""
        for p, value in values:
            if p not in self.watched:
                self.watched[p] = Watching(value)

    @torch.no_grad()
    def touched(self, p: Tensor) -> None:
        """The script is about to read or set the gradient of a parameter."""
        if self._last is not None and self._last is not p:
            self._look(self._last)
        self._look(p)
        self._last = p

    @torch.no_grad()
    def look(self) -> bool:
        """See what has moved until now; whether anything is elsewhere than at the start."""
        for p in self.watched:
            self._look(p)
        return any(each.moves and not unmoved(p, each.moves[0].before) for p, each in self.watched.items())

    def end(self) -> None:
        """The training step is over."""
        self.watched, self._last = {}, None

    def _look(self, p: Tensor) -> None:
        each = self.watched.get(p)
        if each is None:
            return
        gradient = grad_of(p)
        there = gradient is not None and nonzero(dense(gradient.detach()))
        if unmoved(p, each.value):
            if gradient is not None and there and not each.moves:
                each.seen, each.version = gradient, gradient._version
                each.copy = dense(gradient.detach()).clone() if gradient.numel() <= _SMALL else None
            return
        fed = dense(gradient.detach()).clone() if gradient is not None and there else None
        now = p.detach().clone()
        if each.moves and len(each.moves) == _MOST:
            each.moves[-1] = Move(each.moves[-1].before, now, fed if fed is not None else each.moves[-1].fed)
        else:
            each.moves.append(Move(each.value, now, fed))
        each.value = now
