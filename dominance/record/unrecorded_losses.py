"""The losses of steps that are not recorded, read where the script holds them: their curves have no gaps.

No pass is made for them, and the graph is not gone through: a recorded step has shown by which variable the script
holds each task's loss, and by which way its gradient comes from the loss that backward() is called on. Where either is
not so any more, nothing is read; and where the variable is not called as the task is, as ``loss`` is that of whatever
task has its turn, the loss has to lead to the same parameter as well.
"""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, NamedTuple

from torch import Tensor

from dominance.record import answers
from dominance.record.frames import variable_of, variables_of
from dominance.record.tasks.found import Found
from dominance.record.tasks.graph import LEAF, Edge, Node, first_leaf
from dominance.record.tasks.naming import nearest_frames
from dominance.record.tasks.sources import GENERIC

POINTS = 500
"""So many losses are kept of the first steps, those of all tasks counted, and of all after them no more each time that
a training has become 2.7 times as long."""
_MANY = 256
"""So many losses are handed over; on a device they wait until its numbers are read for something else, or are as many
again."""
_NEAR = 3
"""Frames that are looked through, from the one that calls backward() outwards."""
_MOST_NODES = 200
"""Nodes between the loss that backward() is called on and a task's."""

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


@dataclass(frozen=True)
class _Held:
    """How one task's loss is found again."""

    task: str
    depth: int
    """Frames out from the one that calls backward()."""
    variable: str
    key: Hashable
    """The item of a container, or the attribute, that it is; None: the variable itself."""
    way: tuple[int, ...]
    """From the loss that backward() is called on, by which of its inputs, node by node."""
    output: int
    leaf: weakref.ref[Tensor] | None = None
    """The parameter that it leads to; None: it is called as the task is."""
    leaf_way: tuple[int, ...] = ()
    """From there to that."""

    def find(self, frames: Sequence[FrameType], root: Node) -> Tensor | None:
        """The tensor in a later step; None where it is not there, or not of this loss."""
        if self.depth >= len(frames):
            return None
        value = _item(variable_of(frames[self.depth], self.variable), self.key)
        if not isinstance(value, Tensor) or value.numel() != 1 or value.output_nr != self.output:
            return None
        node = _below(root, self.way)
        if node is None or value.grad_fn is not node:
            return None
        if self.leaf is None:
            return value
        end = _below(node, self.leaf_way)
        return value if end is not None and type(end) is LEAF and end.variable is self.leaf() else None


class UnrecordedLosses:
    """Reads the losses of a model's unrecorded steps, ever fewer the longer the training is.

    Each is of a step in which backward() was called once for it; a step in which it was called again, as where
    gradients are accumulated, tells none. Of losses on a device copies wait, and are read with the next numbers that
    anybody reads there (``answers.read_with_next``).
    """

    def __init__(self) -> None:
        self._known: dict[_Place, list[list[_Held]]] = {}
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
        ways = _ways(root.grad_fn, set(edges))
        held: dict[Edge, _Held] = {}
        for depth, frame in enumerate(frames[:_NEAR]):
            for variable, key, tensor in _tensors(variables_of(frame)):
                edge = None if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)
                if edge in edges and edge in ways and (edge not in held or held[edge].leaf is not None):
                    here = _Held(edges[edge], depth, variable, key, ways[edge], edge[1])
                    if _called(edges[edge], variable, key):
                        held[edge] = here
                    elif edge not in held and (there := _with_leaf(here, edge[0])) is not None:
                        held[edge] = there
        if held:
            self._known.setdefault(place, []).append(list(held.values()))
            self._outwards = max(self._outwards, *(each.depth + 1 for each in held.values()))

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


def _ways(root: Node, wanted: set[Edge]) -> dict[Edge, tuple[int, ...]]:
    """The shortest way from a node to each of these edges, among those that are near."""
    ways: dict[Node, tuple[int, ...]] = {root: ()}
    nodes = {node for node, _ in wanted}
    for node in (queue := [root]):  # which grows
        if node in nodes or len(queue) > _MOST_NODES:
            continue
        for place, (child, _) in enumerate(node.next_functions):
            if child is not None and child not in ways:
                ways[child] = (*ways[node], place)
                queue.append(child)
    return {edge: ways[edge[0]] for edge in wanted if edge[0] in ways}


def _below(node: Node | None, way: Sequence[int]) -> Node | None:
    """The node that this way leads to."""
    for place in way:
        below = () if node is None else node.next_functions
        node = below[place][0] if place < len(below) else None
    return node


def _called(task: str, variable: str, key: Hashable) -> bool:
    """Whether what is held so is called as the task is, and not as any loss may be."""
    name = variable if key is None else key[1] if isinstance(key, tuple) and len(key) == 2 else key
    return task.lower() not in GENERIC and task in (name, str(name), f"{variable}[{key}]")


def _with_leaf(held: _Held, node: Node) -> _Held | None:
    leaf, way = first_leaf(node)
    return None if leaf is None else dataclasses.replace(held, leaf=weakref.ref(leaf), leaf_way=way)


def _tensors(variables: Mapping[str, Any]) -> list[tuple[str, Hashable, Tensor]]:
    """The scalars among these variables and one level into them: variable, key, tensor."""
    found: list[tuple[str, Hashable, Tensor]] = []
    for variable, value in variables.items():
        for key, each in [(None, value), *_items(value)]:
            if issubclass(type(each), Tensor) and each.numel() == 1 and each.requires_grad:
                found.append((variable, key, each))
    return found


def _items(value: Any) -> list[tuple[Hashable, Any]]:
    # By the methods of dict, list and tuple themselves: those of a subclass of the script's may load or count things.
    kind = type(value)
    if issubclass(kind, dict):
        return list(dict.items(value)) if dict.__len__(value) <= _MOST_NODES else []
    if issubclass(kind, list | tuple):
        base: Any = list if issubclass(kind, list) else tuple
        return list(enumerate(base.__iter__(value))) if base.__len__(value) <= _MOST_NODES else []
    held = _fields(value)
    return [] if held is None or len(held) > _MOST_NODES else [(("field", name), each) for name, each in held.items()]


def _item(value: Any, key: Hashable) -> Any:
    if key is None:
        return value
    kind = type(value)
    if issubclass(kind, dict):
        return dict.get(value, key)
    if issubclass(kind, list | tuple) and isinstance(key, int):
        base: Any = list if issubclass(kind, list) else tuple
        return base.__getitem__(value, key) if key < base.__len__(value) else None
    held = _fields(value)
    return None if held is None or not isinstance(key, tuple) else held.get(key[1])


def _fields(value: Any) -> dict[str, Any] | None:
    """What a record (``self``, a dataclass, a namespace) holds."""
    kind = type(value)
    if kind is not SimpleNamespace and issubclass(kind, type):
        return None
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return held if type(held) is dict else None
