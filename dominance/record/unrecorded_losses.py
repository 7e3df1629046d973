"""The losses of steps that are not recorded, read where the script holds them: their curves have no gaps.

No pass is made for them, and the graph is not gone through: a recorded step has shown by which variable the script
holds each task's loss, and by which way its gradient comes from the loss that backward() is called on. Where either is
not so any more, nothing is read; and where the variable is not called as the task is, as ``loss`` is that of whatever
task has its turn, the loss has to lead to the same parameter as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, NamedTuple

from torch import Tensor

from dominance.record import answers
from dominance.record.held_losses import Held, held_losses
from dominance.record.tasks.found import Found
from dominance.record.tasks.graph import Node
from dominance.record.tasks.naming import nearest_frames

POINTS = 500
"""So many losses are kept of the first steps, those of all tasks counted, and of all after them no more each time that
a training has become 2.7 times as long."""
_MANY = 256
"""So many losses are handed over; on a device they wait until its numbers are read for something else, or are as many
again."""
_NEAR = 3
"""Frames that are looked through, from the one that calls backward() outwards."""
_MOST_TRIED = 8
"""As often it is looked for the losses of one line that calls backward()."""

_Place = tuple[CodeType, int]
"""The code that calls backward(), and the line in it."""


class LossRead(NamedTuple):
    """The loss of one task in a step that is not recorded."""

    step: int
    epoch: int
    task: str
    loss: float


class UnrecordedLosses:
    """Reads the losses of a model's unrecorded steps, ever fewer the longer the training is.

    Each is of a step in which backward() was called once for it; a step in which it was called again, as where
    gradients are accumulated, tells none. Of losses on a device copies wait, and are read with the next numbers that
    anybody reads there (``answers.read_with_next``).
    """

    def __init__(self) -> None:
        self._known: dict[_Place, list[list[Held]]] = {}
        """By the place of the call; the tasks of a loss there need not be the same in each step."""
        self._ambiguous: set[_Place] = set()
        """Calls in which one loss has been of several tasks, and nothing tells of which."""
        self._tried: dict[_Place, int] = {}
        self._outwards = 1
        """Frames that are looked at."""
        self._step = self._epoch = -1
        self._now: dict[str, Tensor | float] = {}
        self._again: set[str] = set()
        """Tasks that came up more than once in this step."""
        self._next = 0
        """The step that is read next."""
        self._waiting: list[tuple[int, int, str, Tensor]] = []
        self._told: list[LossRead] = []

    def learn(self, root: Tensor, found: Found, frames: Sequence[FrameType]) -> None:
        """A recorded backward() was found to be made of these tasks: see where the script holds their losses.

        Args:
            root: what it was called on.
            found: the tasks, with their edges.
            frames: of the script around the call, innermost first.
        """
        if not frames or root.grad_fn is None:
            return
        place = frames[0].f_code, frames[0].f_lineno
        edges = {task.edges[0]: task.name for task in found.tasks if len(task.edges) == 1}
        if found.by_shares or not edges or place in self._ambiguous:
            return
        if (known := self._pattern(place, frames, root.grad_fn)) is not None:
            if not known.keys() <= set(edges.values()):
                self._ambiguous.add(place)
                del self._known[place]
            return
        self._tried[place] = self._tried.get(place, 0) + 1
        if self._tried[place] > _MOST_TRIED:
            return
        if held := held_losses(root.grad_fn, edges, frames[:_NEAR]):
            self._known.setdefault(place, []).append(held)
            self._outwards = max(self._outwards, *(each.depth + 1 for each in held))

    def _pattern(self, place: _Place, frames: Sequence[FrameType], root: Node) -> dict[str, Tensor] | None:
        """The losses of a backward() there, by task, where all are as they were in some recorded step."""
        for pattern in self._known.get(place, ()):
            found: dict[str, Tensor] = {}
            for each in pattern:
                if (tensor := each.find(frames, root)) is None:
                    break
                found[each.task] = tensor
            else:
                return found
        return None

    def reads(self, step: int) -> bool:
        """Whether the losses of this step are wanted."""
        return step >= self._next or step == self._step

    def read(self, root: Any, *, step: int, epoch: int) -> None:
        """A backward() of a step that is not recorded begins.

        Args:
            root: what it is called on.
            step, epoch: their numbers.
        """
        if step != self._step:
            self._step_over()
            self._step, self._epoch = step, epoch
        frames = nearest_frames(self._outwards)
        if not frames or (node := getattr(root, "grad_fn", None)) is None:
            return
        place = frames[0].f_code, frames[0].f_lineno
        for task, tensor in (self._pattern(place, frames, node) or {}).items():
            if task in self._now:
                self._again.add(task)
            loss = tensor.detach()
            # The script may write to it after the pass.
            self._now[task] = loss.to(answers.widest(loss), copy=True) if answers.waits(loss) else loss.item()

    def prepared(self, losses: Mapping[str, float], *, step: int, epoch: int) -> None:
        """A step that prepares a burst, of which nothing else is kept, had these losses."""
        self._step_over()
        if self.reads(step):
            self._told += [LossRead(step, epoch, task, value) for task, value in losses.items()]
            self._go_on(step, len(losses))

    @property
    def many(self) -> bool:
        """Whether it is time to take what has been read."""
        return len(self._told) > _MANY or len(self._waiting) > 2 * _MANY

    def take(self, *, last: bool = False) -> list[LossRead]:
        """What has been read since the last call, in the order of the steps.

        Args:
            last: also what a device is to be waited for.
        """
        if last:
            self._step_over()
        if self._waiting and (last or len(self._waiting) > 2 * _MANY):
            self.give(answers.read(self.tensors))
        # In the order of the steps: what waits is of steps before some that are known.
        first = min((step for step, *_ in self._waiting), default=math.inf)
        told = sorted(each for each in self._told if each.step < first)
        self._told = [each for each in self._told if each.step >= first]
        return told

    @property
    def tensors(self) -> list[Tensor]:
        """What waits on a device."""
        return [tensor for *_, tensor in self._waiting]

    def give(self, read: answers.Arrays) -> None:
        """The numbers of ``tensors``."""
        waited, self._waiting = self._waiting[: len(read)], self._waiting[len(read) :]
        self._told += [
            LossRead(step, epoch, task, float(number.item()))
            for (step, epoch, task, _), number in zip(waited, read, strict=True)
        ]

    def _step_over(self) -> None:
        """Another step begins: what was read of the one before is its losses."""
        now, self._now = {task: value for task, value in self._now.items() if task not in self._again}, {}
        self._again = set()
        for task, value in now.items():
            if isinstance(value, Tensor):
                self._waiting.append((self._step, self._epoch, task, value))
            else:
                self._told.append(LossRead(self._step, self._epoch, task, value))
        if self._waiting:
            answers.read_with_next(self)
        if now:
            self._go_on(self._step, len(now))

    def _go_on(self, step: int, tasks: int) -> None:
        self._next = step + max(1, -(-step * tasks // POINTS))
