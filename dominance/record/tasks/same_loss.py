"""Whether a value that is computed without gradients is a task's loss: told by where, and as what, the script makes it.

There is no graph then. What there is are the calls under which a value is made, and what the script's text says of it;
and the same of each task's loss, from the forward that has kept its source lines.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from dominance.record.frames import variables_of
from dominance.record.tasks.fates import builds_on_itself, spelled
from dominance.record.tasks.found import Found, FoundTask
from dominance.record.tasks.graph import Node
from dominance.record.tasks.naming import caller_frames
from dominance.record.tasks.scalar_names import meaning
from dominance.record.tasks.sources import Place, place_at, stack_of
from dominance.record.tasks.sums import loss_sum
from dominance.record.tasks.training_lines import items_of, training_lines
from dominance.visible import visible

SAME_PLACE, SAME_NAME, SAME_TEXT = range(3)
"""How a value was known, the surest first."""
_MOST_STACKS = 8
"""Ways to one task's loss that are kept."""
DEPTH = 12
"""Calls around a value that are looked at, innermost first."""

Item = str | int | None
"""Where in what a call returned the value is: its key, its position, or that it is all."""
Calls = tuple[Place, ...]
"""Places in the script, outermost first."""


@dataclass(frozen=True)
class SameLoss:
    """What a value is known to be, or may be.

    Attributes:
        tasks: of one of these it is the loss; where there are several, a variable of the frames says of which.
        how: ``SAME_PLACE``, ``SAME_NAME`` or ``SAME_TEXT``.
        depth: how many of the innermost calls have such a variable.
        called: what the script calls the value, if anything.
    """

    tasks: tuple[str, ...]
    how: int
    depth: int
    called: str | None

    def task(self, frames: Sequence[FrameType]) -> str | None:
        """The one task, by the frames of the value, innermost first; None where they do not tell."""
        if len(self.tasks) == 1:
            return self.tasks[0]
        held = {v for f in frames[: self.depth] for v in variables_of(f).values() if type(v) is str}
        named = held.intersection(self.tasks)
        return named.pop() if len(named) == 1 else None


class LossSources:
    """Where the script makes the loss of each task."""

    def __init__(self) -> None:
        self._made: dict[str, list[Calls]] = {}
        self._unfit: set[str] = set()
        """Tasks of whose losses one value is only a part, or the opposite."""
        self.version = 0
        """Counts what was learned."""
        self.sum: dict[str, Any] | None = None
        """The lines of the script in which the losses are added up, as ``LOSS_SUM`` says it; None: not known."""
        self.loop: dict[str, Any] | None = None
        """Those of the loop around them, as ``TRAINING_LINES`` says it; None: not known."""

    def __bool__(self) -> bool:
        return bool(self._made)

    def learn(self, found: Found) -> None:
        """Take in the losses of one backward(), as far as autograd has kept where they were made."""
        for task in () if found.by_shares else found.tasks:
            if len(task.edges) != 1:
                self._refuse(task.name)
                continue
            known = self._made.get(task.name, [])
            if task.name in self._unfit or len(known) >= _MOST_STACKS:
                continue
            calls = _of_script(stack_of(task.edges[0][0]))
            if not calls or any(place.code is None for place in calls) or calls in known:
                continue
            if _turned_round(task):
                self._refuse(task.name)
                continue
            self._made.setdefault(task.name, []).append(calls)
            self.version += 1

    def learn_sum(self, root: Node, found: Found) -> None:
        """Take in where the losses of one backward() are added up, as far as autograd has kept that."""
        if self.sum is not None or len(found.tasks) < 2 or found.by_shares:
            return
        calls = _of_script(stack_of(root))
        if not calls or calls[-1].is_installed:
            return
        place = calls[-1]
        summed = loss_sum(place.path, place.line, place.span, {task.name for task in found.tasks})
        if summed is None:
            return
        frames = caller_frames()
        if not frames or frames[0].f_code is not place.code:
            frames = []  # the sum is made in another function
        at = (
            summed.tasks
            if summed.each is None
            else dict.fromkeys(items_of(summed, found, frames) or [], summed.each[0])
        )
        lines = summed.text.split("\n")
        # A tab would be read as two characters: of a run's texts what steers a terminal is written out.
        if not {task.name for task in found.tasks} <= set(at) or [*map(visible, lines)] != lines:
            return
        said = {"file": _shown(place.path), "line": summed.first, "lines": lines, "tasks": at}
        self.sum = said if summed.each is None else {**said, "each": list(summed.each)}
        loop = training_lines(place.path, summed, found, frames)
        self.loop = None if loop is None else {"file": _shown(place.path), **loop}

    def _refuse(self, task: str) -> None:
        self._unfit.add(task)
        if self._made.pop(task, None) is not None:
            self.version += 1

    def of(self, calls: Calls, item: Item = None) -> SameLoss | None:
        """What a value is, by the calls around it; None: nothing that is known for certain.

        Args:
            calls: the innermost ``DEPTH`` of them, at least.
            item: where in the value of the innermost call it is.
        """
        if not calls:
            return None
        common = {} if item is not None else {name: _longest(made, calls) for name, made in self._made.items()}
        depth = max(common.values(), default=0)
        tied = tuple(name for name in self._made if depth and common.get(name) == depth)
        called = name_of(calls, item)
        if (named := self._named(called)) is not None:
            # Where the place says another task, neither is certain.
            how = SAME_PLACE if tied else SAME_NAME
            return SameLoss((named,), how, 0, called) if named in tied or not tied else None
        if tied:
            sure = len(tied) > 1 or self._is_its_own(tied[0], calls, depth)
            return SameLoss(tied, SAME_PLACE, depth, called) if sure else None
        # `error.mean()` may be of any error: of two variables at least, as of an output and a target.
        if item is not None:
            return None
        for rows in (True, False):
            text = _text(calls[-1], names=2, rows=rows)
            made = self._made.items()
            alike = tuple(name for name, each in made if any(_text(one[-1], rows=rows) == text for one in each))
            if text is not None and alike:
                return SameLoss(alike, SAME_TEXT, 1, called)
        return None

    def _is_its_own(self, task: str, calls: Calls, depth: int) -> bool:
        """Whether so many of the innermost places make the loss of this task alone, wherever they are called from.

        A function that makes a loss of one task only (a squared error, say) may be called for anything.
        """
        others = {place.code for name, made in self._made.items() if name != task for each in made for place in each}
        if any(place.code in others for place in calls[-depth:]):
            return True
        for made in self._made[task]:
            if _common_end(made, calls) == depth:
                if depth == len(made):
                    return True
                text = _text(calls[-depth - 1]) if depth < len(calls) else None
                if text is not None and text == _text(made[-depth - 1]):
                    return True
        return False

    def _named(self, called: str | None) -> str | None:
        """The task whose loss is called so: by its name, or by that and a word of what is evaluated, as a logger's."""
        if called is None or called in self._made:
            return called
        said = meaning(called, list(self._made))
        return said.task if said is not None and said.metric == "loss" else None


def _shown(path: str) -> str:
    """A file as the user would write it: from the folder that the script runs in, where it lies below."""
    here = os.path.relpath(path) if os.path.splitdrive(path)[0] == os.path.splitdrive(os.getcwd())[0] else path
    return os.path.abspath(path) if here.startswith(os.pardir) else here


def _turned_round(task: FoundTask) -> bool:
    """Whether what the script computes is maximised: then the task's loss is its negative."""
    return float(task.gradients[0].detach().sum()) <= 0


def _of_script(stack: Sequence[Place]) -> Calls:
    return tuple(place for place in stack if not place.in_torch)


def calls_of(frames: Sequence[FrameType]) -> Calls:
    """The places of frames that stand innermost first."""
    return tuple(place_at(frame.f_code, frame.f_lasti) for frame in reversed(frames))


def _longest(made: Sequence[Calls], calls: Calls) -> int:
    return max(_common_end(each, calls) for each in made)


def _common_end(one: Calls, other: Calls) -> int:
    """How many of the innermost places are the same."""
    depth = 0
    for here, there in zip(reversed(one), reversed(other), strict=False):
        if not here.is_same(there):
            break
        depth += 1
    return depth


def _text(place: Place, names: int = 0, *, rows: bool = True) -> str | None:
    return spelled(place.path, place.line, place.span, names=names, rows=rows)


def name_of(calls: Calls, item: Item = None) -> str | None:
    """What a statement calls the value that these calls make, where it is the value and nothing made of it."""
    if isinstance(item, str):
        return item
    position = item
    for place in reversed(calls):
        fate = place.fate
        if fate.kind == "returned":
            if position is None:
                position = fate.position
            elif fate.position is not None:
                return None
            continue
        if builds_on_itself(place.path, place.line, place.span):
            return None
        if fate.kind == "unpacked" and position is not None:
            return fate.names[position] if position < len(fate.names) else None
        if fate.kind in ("stored", "keyed") and fate.names:
            return fate.names[0] if position is None else f"{fate.names[0]}[{position}]"
        return None
    return None
