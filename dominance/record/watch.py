"""Watches one training run: what each backward() and each step() means, and which of it becomes a row."""

from __future__ import annotations

import functools
import math
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.config import RecordOptions
from dominance.record.announced import AnnouncedAttributor
from dominance.record.attribution import GradientSplit
from dominance.record.gradients import task_gradients
from dominance.record.graph import edge_of, leaves
from dominance.record.harmless import harmless
from dominance.record.hooks import Hooks, LeafCapture
from dominance.record.ledger import Call, Ledger, Resolved, call_of, joined
from dominance.record.limits import CannotLook
from dominance.record.naming import caller_frames, names_around
from dominance.record.parameters import ParameterTable
from dominance.record.rows import Row
from dominance.record.sampling import DEFAULT_BURST, Schedule
from dominance.record.sink import Sink
from dominance.record.source_lines import SourceLines
from dominance.record.steppers import Steppers
from dominance.record.tasks import Found, Root, TaskFinder, Unnamed
from dominance.record.told import Told


@dataclass
class _Pending:
    """A backward() that the script is about to make, or making."""

    found: Found
    taken: dict[str, dict[Tensor, Tensor]]
    capture: LeafCapture | None
    kept: bool = False


class Watch:
    """Turns hooks into rows. Implements the ``Watcher`` and ``Observer`` protocols.

    Args:
        options: schedule, budget, tasks wanted, attribution.
        sink: where rows go; it lays the run out when the first row comes.
        table: the parameters; an empty one is filled by looking through the program at the first backward().
        say: prints one line to the user.
        optimizers: record these only; None for every one that steps.
    """

    def __init__(
        self,
        options: RecordOptions,
        sink: Sink,
        table: ParameterTable,
        say: Callable[[str], None],
        optimizers: Sequence[Optimizer] | None = None,
    ) -> None:
        self.options = options
        self.sink = sink
        self.table = table
        self.hooks = Hooks(self)
        self.failure: str | None = None
        self.step = sink.first_step
        self.epoch = -1
        self.recorded = 0
        self._say = say
        self._fixed = len(table) > 0
        self._steppers = Steppers(options.attribution, optimizers)
        self._finder = TaskFinder(options.tasks)
        self._schedule = Schedule(options.every, options.burst or 1, start=sink.first_step)
        self._ledger = Ledger()
        self._observed: dict[str, Tensor] = {}
        self._stepped: set[int] = set()
        self._stepping: list[Optimizer] = []
        self._row: Row | None = None
        self._resolved: list[Resolved] = []
        self._announced = False
        self._loss_scale = 1.0
        self._residual: list[str] = []
        self._separate: list[str] = []
        self._lines = SourceLines()
        self._full = False
        self._strangers = False
        self._pending: _Pending | None = None
        self._told = Told(self)
        self.not_looked: dict[str, int] = {}
        """Why a backward() was not looked at, and how often."""

    # Life

    def start(self) -> None:
        """Install the hooks. Until the first backward pass, autograd keeps the source line of every node."""
        self.hooks.install()
        self._told.start()
        self._lines.on()

    def stop(self) -> None:
        """Take the hooks away and hand over the last row."""
        self._told.stop()
        self.hooks.remove()
        if os.getpid() == self.hooks._pid:
            self._finish()
        self._lines.end()

    def fail(self, error: BaseException) -> None:
        """Record no more, and say why; the script goes on."""
        where = traceback.extract_tb(error.__traceback__)
        place = f" ({os.path.basename(where[-1].filename)}:{where[-1].lineno})" if where else ""
        self.failure = f"{type(error).__name__}: {error}".splitlines()[0] + place
        self._say(f"recording stopped at step {self.step}, the training goes on: {self.failure}")
        self._lines.off()
        self._clear()

    @harmless
    def settle(self) -> None:
        """Between two training steps: hand over the last one's row now, not when the next one begins."""
        if self._stepped and not self._stepping:
            self._finish()

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """Names for the tasks of the next backward(); see ``dominance.observe``."""
        if not isinstance(losses, Mapping) or not all(isinstance(loss, Tensor) for loss in losses.values()):
            raise TypeError('observe takes a mapping of task names to loss tensors, like {"depth": loss_depth}')
        self._observed = {str(name): loss for name, loss in losses.items() if loss.requires_grad}

    # What hooks tell

    def before_backward(self, outputs: Sequence[Any], gradients: Sequence[Any]) -> Callable[[], None] | None:
        """Take the task gradients of this backward(), where this step is recorded."""
        return self._before_backward(outputs, gradients)

    @harmless
    def _before_backward(self, outputs: Sequence[Any], gradients: Sequence[Any]) -> Callable[[], None] | None:
        self._lines.off()
        self._pending = None  # of a backward() that ended in an exception
        if self._stepped:
            self._finish()
        if not self._schedule.records(self.step):
            return None
        emptied = self._ledger.emptied()
        if emptied:
            if self._ledger.overflowed() and not self._stepping:
                self._skipped()
                if not self._schedule.records(self.step):
                    return None
            elif self._stepping:
                # A closure that is evaluated again within one step (a line search): the first evaluation counts.
                self._ledger.frozen = True
                return None
            else:
                self._ledger.set_aside(emptied)
        elif self._ledger.frozen:
            return None
        try:
            self._pending = self._tasks_of(outputs, gradients)
        except Unnamed:
            # This step goes unrecorded; the forward of the next one will keep its source lines.
            self._ledger.clear()
            return None
        except CannotLook as limit:
            self._ledger.clear()
            self._not_looked(limit.reason)
            return None
        except Exception as error:  # noqa: BLE001  a graph that was freed, say: then the script's own call fails as well
            return functools.partial(self.fail, error)
        return None if self._pending is None else self._after_backward

    def before_grad(
        self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Tensor | None]], None] | None:
        """Take over the gradients that the script takes of one loss by the parameters."""
        return self._before_grad(outputs, gradients, inputs)

    @harmless
    def _before_grad(
        self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Tensor | None]], None] | None:
        if self._stepped:
            self._finish()
        self._lines.off()
        leaf = [i for i in inputs if isinstance(i, Tensor) and i.is_leaf]
        ours = len(leaf) == len(inputs) and len(outputs) == 1 and isinstance(outputs[0], Tensor)
        frames = caller_frames() if ours and self._schedule.records(self.step) else []
        if frames:
            self._know(leaf, frames)
        if not frames or not any(parameter in self.table.named for parameter in leaf):
            return lambda result: self._lines.on()
        try:
            self.hooks.look([edge_of(outputs[0])[0]], self.table.modules)
        except CannotLook as limit:
            self._not_looked(limit.reason)
            return lambda result: self._lines.on()
        with self.hooks.own_pass(self.table.modules, self.table.named):
            names = names_around(frames)
            root = Root(edge_of(outputs[0]), _root_gradient(outputs[0], gradients[0]), outputs[0])
            self._finder.expand, expand = False, self._finder.expand
            try:
                found = self._finder.find([root], names, self.table.ids(), self._observed)
            except Unnamed:
                # As in a backward(): what it is made of is known from the next recorded forward on.
                return lambda result: self._lines.on()
            finally:
                self._finder.expand = expand
        return functools.partial(self._after_grad, found, list(inputs))

    @harmless
    def _after_grad(self, found: Found, inputs: list[Tensor], result: Sequence[Tensor | None]) -> None:
        self._lines.on()
        if len(found.tasks) != 1:
            return
        kept = {p: g.detach().clone() for p, g in zip(inputs, result, strict=True) if g is not None}
        kept = {p: g for p, g in kept.items() if p in self.table.named}
        self._ledger.note_taken(call_of(found, {found.tasks[0].name: kept}))

    def before_step(self, optimizer: Optimizer) -> None:
        """Keep what the step will overwrite."""
        if self._before_step(optimizer):
            # Outside the shield: with --strict this ends the script.
            self._announce()

    @harmless
    def _before_step(self, optimizer: Optimizer) -> bool:
        if self._ledger:
            self._lines.end()
        if id(optimizer) in self._stepped:
            self._finish()
        if optimizer in self._stepping:
            # Its last step ended in an exception, before any post-hook.
            self._stepping.clear()
        outer = list(self._stepping)
        self._stepping.append(optimizer)
        if not self._steppers.ours(optimizer) or not self._schedule.records(self.step):
            self._steppers.missed(optimizer)
            return False
        for wrapper in outer:
            # An optimizer that wraps another: the inner one takes the step, and counts.
            self._steppers.drop(wrapper)
        attributor = self._steppers.begin(optimizer)
        if self.options.burst is None and attributor.has_momentum:
            self._schedule.burst = DEFAULT_BURST
        mine = [p for group in optimizer.param_groups for p in group["params"]]
        # An optimizer that steps within the backward pass, as soon as its gradient is there.
        if self.sink.laid_out and not any(p in self.table.named for p in mine) and not self._strangers:
            self._strangers = True
            self._say(f"at step {self.step} an optimizer steps whose parameters are not in the run: not recorded")
        if self.hooks.in_backward:
            self._keep([p for p in mine if p in self.table.named])
        attributor.before_step([p for p in mine if p in self.table.named] if len(self.table) else mine)
        return bool(self._ledger)

    def after_step(self, optimizer: Optimizer) -> None:
        """Split the step that was taken."""
        self._after_step(optimizer)
        self._stepped.add(id(optimizer))
        self._observed = {}
        self._lines.end()
        if self._finder.lines_asked and self.failure is None:
            self._lines.ask(self._schedule.records(self.step + 1))
        if optimizer in self._stepping:
            self._stepping.remove(optimizer)

    @harmless
    def _after_step(self, optimizer: Optimizer) -> None:
        attributor = self._steppers.get(optimizer)
        if attributor is None or not self._ledger or not self._schedule.records(self.step):
            return
        self._steppers.recorded(optimizer)
        if len(self._ledger.roots) > 1:
            self._finder.expand = False
        scale = getattr(optimizer, "grad_scale", None)
        rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
        mine = [p for p in rates if p in self.table.named]
        resolved = self._ledger.resolve(mine, 1.0 if scale is None else float(scale))
        if not resolved.totals:
            return
        self._resolved.append(resolved)
        row = self._row_of_step(resolved)
        for p, split in attributor.splits(resolved.splits):
            if p in resolved.totals and row.holds(p):
                row.add(p, float(rates[p]), resolved.totals[p], resolved.splits.get(p, GradientSplit({})), split)
        if attributor.step_skipped:
            row.skip()

    # What the optimizers of dominance.optim tell

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Passes in this block are not looked at: the tasks' gradients come from who makes them."""
        self._lines.off()
        with self.hooks.aside():
            yield
        self._lines.on()

    def expects(self, reached: Sequence[Tensor]) -> bool:
        """Whether gradients that come now, by these leaf tensors, are to be recorded; sees to the tensors' names."""
        if not self.hooks.active:
            return False
        if self._stepped and not self._stepping:
            self._finish()
        if not self._schedule.records(self.step):
            return False
        if not self.sink.laid_out:
            self._know(reached, caller_frames())
        return any(p in self.table.named for p in reached)

    def enter(self, call: Call) -> None:
        """Take in task gradients whose sum has just been added to ``.grad``, or that a step is given directly."""
        if self._stepping:
            self._ledger.feed(call)
        else:
            if emptied := self._ledger.emptied():
                self._ledger.set_aside(emptied)
            self._ledger.note(call, self.table.named)
        self._lines.end()

    def step_parts(self, optimizer: Optimizer, task: str, parts: Mapping[Tensor, Tensor]) -> None:
        """One task's part of the step that an optimizer is taking."""
        attributor = self._steppers.get(optimizer)
        if isinstance(attributor, AnnouncedAttributor) and optimizer in self._stepping:
            attributor.take(task, parts)

    # What it does with it

    def _know(self, tensors: Sequence[Tensor], frames: Sequence[Any]) -> None:
        """See to it that these leaf tensors have names."""
        if not self._fixed and any(tensor not in self.table.named for tensor in tensors) and not self.sink.laid_out:
            self._steppers.known = self.table.discover(tensors, frames)

    def _tasks_of(self, outputs: Sequence[Any], gradients: Sequence[Any]) -> _Pending | None:
        """The tasks of one backward(), and their gradients; or a capture, where the script's own pass gives them."""
        roots = [
            Root(edge_of(output), _root_gradient(output, gradient), output)
            for output, gradient in zip(outputs, gradients, strict=True)
            if isinstance(output, Tensor) and output.requires_grad and output.grad_fn is not None
        ]
        if not roots:
            return None
        frames = caller_frames()
        if not self.sink.laid_out:
            self._know(leaves([root.edge[0] for root in roots]), frames)
        self.hooks.look([root.edge[0] for root in roots], self.table.modules)
        with self.hooks.own_pass(self.table.modules, self.table.named):
            names = names_around(frames)
            self._loss_scale = names.loss_scale
            found = self._finder.find(roots, names, self.table.ids(), self._observed)
            found.total /= names.loss_scale
            del names, frames
            self._residual += [name for name in found.residual if name not in self._residual]
            self._separate += [name for name in found.separate if name not in self._separate]
            trainable = self.table.trainable()
            alone = len(found.tasks) == 1 and not found.residual and not found.separate and not self._observed
            if alone:
                capture = LeafCapture(trainable)
                return _Pending(found, {found.tasks[0].name: capture.gradients}, capture)
            taken: dict[str, dict[Tensor, Tensor]] = {}
            for task in found.tasks:
                per_parameter = task_gradients(task.edges, task.gradients, trainable)
                taken[task.name] = {p: g for p, g in zip(trainable, per_parameter, strict=True) if g is not None}
        for task in found.tasks:
            task.edges.clear()  # nodes: they would keep the graph alive until the step
        return _Pending(found, taken, None)

    def _not_looked(self, reason: str) -> None:
        self.not_looked[reason] = self.not_looked.get(reason, 0) + 1
        if self.not_looked[reason] == 1:
            self._say(f"step {self.step} is not recorded: {reason}")

    def _after_backward(self) -> None:
        self._keep(None)
        if self._stepping and self.failure is None:
            self._announce()

    @harmless
    def _keep(self, parameters: Sequence[Tensor] | None) -> None:
        """Enter the backward() in the ledger; ``parameters`` are given when it is still going on."""
        pending = self._pending
        if pending is None:
            return
        over = parameters is None
        if over and pending.capture is not None:
            pending.capture.remove()
        if not (over and pending.kept):
            call = None if pending.kept else call_of(pending.found, pending.taken)
            self._ledger.note(call, self.table.named if parameters is None else parameters)
        pending.kept = True
        if over:
            self._pending = None
            self._lines.on()

    def _announce(self) -> None:
        if self._announced or self.failure is not None:
            return
        self._announced = True
        settled = self._ledger.settle(self.table.named)
        tasks = settled.tasks
        weights = {name: w / self._loss_scale for name, w in settled.weights.items() if not math.isnan(w)}
        lines = self.sink.announce(tasks, {} if settled.mixed else weights, self._residual, self._separate)
        wanted = self.options.tasks
        right = len(tasks) >= 2 if wanted is None else set(wanted) <= set(tasks)
        for line in lines:
            self._say(line)
        if not right and self.options.strict:
            raise SystemExit(2)

    def _row_of_step(self, resolved: Resolved) -> Row:
        for name in self.sink.lay_out(self.table, resolved.settled, self._steppers, self._schedule):
            self._say(f"one more task at step {self.step}: {name}")
        if self._row is None:
            self._row = self.sink.row(self.step, self.epoch)
        return self._row

    @harmless
    def _finish(self) -> None:
        """The training step is over: hand over its row, and go on to the next."""
        row = self._row
        if row is not None:
            row.losses(*joined(self._resolved))
            self._hand_over(row)
            self._spend()
        self.step += 1
        self._clear()

    def _skipped(self) -> None:
        """Gradients that were not finite were thrown away without a step."""
        if not self.sink.laid_out:
            # GradScaler's first scale is often too large: the first step is still to come.
            self._ledger.clear()
            return
        row = self.sink.row(self.step, self.epoch)
        resolved = self._ledger.resolve([])
        row.losses(resolved.loss, dict.fromkeys(resolved.weight, math.nan), resolved.total)
        row.skip()
        self._hand_over(row)
        self.step += 1
        self._clear()

    def _hand_over(self, row: Row) -> None:
        if self.sink.append(row):
            self.recorded += 1
        elif not self._full:
            self._full = True
            self._say(f"the budget is used up at step {self.step}: steps are left out (--budget for more)")

    def _clear(self) -> None:
        self._ledger.clear()
        self._pending = None
        self._row = None
        self._resolved = []
        self._stepped = set()

    def _spend(self) -> None:
        if self._schedule.spend(self.sink.used, self.options.budget, self.step):
            interval = self._schedule.every * self._schedule.stretch
            self._say(
                f"half of the budget that was left is used at step {self.step}: "
                f"from now on one step in {interval} is recorded (--budget for more)"
            )


def _root_gradient(output: Tensor, gradient: Tensor | None) -> Tensor:
    return torch.ones_like(output) if gradient is None else gradient.detach()
