"""What the optimizers of ``dominance.optim`` tell of themselves: nothing of it has to be found out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.optim.engine.gradients import listeners
from dominance.optim.engine.task_gradients import Loss, start_of
from dominance.record.fail_safe import harmless
from dominance.record.guest.hidden import hide, show
from dominance.record.guest.hooks import Hooks, dense
from dominance.record.recording import Recording
from dominance.record.split.gradients import several
from dominance.record.split.passes import Pass
from dominance.record.tasks.graph import leaves

if TYPE_CHECKING:
    from dominance.optim.engine.task_gradients import TaskGradients

_ROOT = "losses"
"""There is no one loss that backward() is called on; this stands for it."""


class Listening(Protocol):
    """Who is told, and has the recording that it is about."""

    failure: str | None
    hooks: Hooks

    @property
    def recording(self) -> Recording:
        """Of the model that trains now."""

    def fail(self, error: BaseException) -> None:
        """Record no more, and say why."""

    def aside(self) -> AbstractContextManager[None]:
        """Passes in this block are not looked at."""

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """Names for the tasks of the next backward()."""

    def expects(self, reached: Sequence[Tensor]) -> bool:
        """Whether gradients that come now, by these leaf tensors, are to be recorded."""

    def enter(self, made: Pass) -> None:
        """Take in task gradients whose sum has just been added to ``.grad``."""

    def step_parts(self, optimizer: Optimizer, task: str, parts: Mapping[Tensor, Tensor]) -> None:
        """One task's part of the step that an optimizer is taking."""


class Told:
    """Enters what it is told in the recording of a ``Listening``.

    Implements ``dominance.optim.engine.listeners.Listener``.
    """

    def __init__(self, watch: Listening) -> None:
        self._watch = watch
        self.losses: Mapping[str, float] = {}
        """What the script's losses are, where a method is told them times the script's weights."""
        self.weights: Mapping[str, float] = {}
        """Those weights."""

    def start(self) -> None:
        """Listen from now on."""
        listeners.append(self)

    def stop(self) -> None:
        """Listen no more."""
        if self in listeners:
            listeners.remove(self)

    @property
    def failure(self) -> str | None:
        """Why the recording has ended, if it has."""
        return self._watch.failure

    def fail(self, error: BaseException) -> None:
        """End the recording."""
        self._watch.fail(error)

    @contextmanager
    def own_passes(self) -> Iterator[None]:
        """Autograd passes of a method on its own behalf are not looked at."""
        with self._watch.aside():
            yield

    @harmless
    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """A backward() of a weighted sum of these losses follows, and is looked at like any other."""
        self._watch.observe(losses)

    def weighted(
        self,
        losses: Mapping[str, Loss],
        weights: Mapping[str, float],
        beside: Mapping[str, float],
        trunk: Sequence[Tensor],
    ) -> Callable[[], None]:
        """Take the task gradients of a pass that goes through the trunk once, for all tasks together."""
        call = self._weighted(losses, weights, beside, trunk)
        return lambda: None if call is None else self._enter(call)

    @harmless
    def _weighted(
        self,
        losses: Mapping[str, Loss],
        weights: Mapping[str, float],
        beside: Mapping[str, float],
        trunk: Sequence[Tensor],
    ) -> Pass | None:
        edges = {task: start_of(loss).edges for task, loss in losses.items()}
        if not self._watch.expects(leaves([node for each in edges.values() for node, _ in each if node is not None])):
            return None
        watch, behind = self._watch, set(trunk)
        trainable = watch.recording.table.trainable()
        taken: dict[str, dict[Tensor, Tensor]] = {}
        with watch.hooks.own_pass(watch.recording.table.modules, watch.recording.table.named):
            entering = [start_of(loss).gradients or [torch.ones_like(loss.detach())] for loss in losses.values()]
            every = several(list(zip(edges.values(), entering, strict=True)), trainable)
            for task, found in zip(losses, every, strict=True):
                taken[task] = {
                    p: g * (weights[task] if p in behind else beside[task])
                    for p, g in zip(trainable, found, strict=True)
                    if g is not None
                }
        return self._call(taken, {task: float(loss.detach()) for task, loss in losses.items()}, weights)

    @harmless
    def _enter(self, made: Pass) -> None:
        self._watch.enter(made)

    @harmless
    def effective(self, gradients: TaskGradients, weights: Mapping[str, float] | None) -> None:
        """The task gradients are there already."""
        if not self._watch.expects(gradients.parameters):
            return
        named = self._watch.recording.table.named
        taken = {
            task: {
                p: dense(g.detach()).clone()
                for p, g in zip(gradients.parameters, row, strict=True)
                if g is not None and p in named
            }
            for task, row in zip(gradients.tasks, gradients.rows, strict=True)
        }
        values = dict(zip(gradients.tasks, gradients.loss_values().tolist(), strict=True))
        # Rows that mix several tasks' gradients are no multiple of any: there is no weight.
        known = dict.fromkeys(gradients.tasks, math.nan) if weights is None else weights
        self._watch.enter(self._call(taken, values, known))

    @harmless
    def updates(self, optimizer: Optimizer, parameters: Sequence[Tensor], task: str, updates: Sequence[Tensor]) -> None:
        """Parts of the step that is going on."""
        self._watch.step_parts(optimizer, task, dict(zip(parameters, updates, strict=True)))

    def _call(
        self,
        gradients: dict[str, dict[Tensor, Tensor]],
        losses: Mapping[str, float],
        weights: Mapping[str, float],
    ) -> Pass:
        losses = {task: self.losses.get(task, loss) for task, loss in losses.items()}
        weights = {task: weight * self.weights.get(task, 1.0) for task, weight in weights.items()}
        weighted = [weights[task] * loss for task, loss in losses.items()]
        total = sum(losses.values()) if any(map(math.isnan, weighted)) else sum(weighted)
        return Pass(_ROOT, total, gradients, weights, losses)


class Silent:
    """In this block nothing is told, no pass is looked at, and no step of one optimizer is of the script.

    It stands around each step of a method, and is no generator, which would take longer than all that it does.

    Args:
        hidden: that optimizer; None: there is none.
    """

    def __init__(self, told: Told, hooks: Hooks, hidden: Optimizer | None = None) -> None:
        self._told, self._hooks, self._hidden = told, hooks, hidden
        self._outer = False

    def __enter__(self) -> None:
        self._told.stop()
        self._outer, self._hooks.passes_aside = self._hooks.passes_aside, True
        if self._hidden is not None:
            hide(self._hidden)

    def __exit__(self, *_: object) -> None:
        if self._hidden is not None:
            show(self._hidden)
        self._hooks.passes_aside = self._outer
        self._told.start()
