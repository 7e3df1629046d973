"""The recording of one model: each training step is found, fed, stepped, split, and kept as a row."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.config import RecordOptions
from dominance.record.announced import AnnouncedAttributor
from dominance.record.attribution import Attributor, GradientSplit
from dominance.record.books import Books
from dominance.record.copies import Copies
from dominance.record.cut import Cut
from dominance.record.fed import Fed, Losses, fed, joined, losses_of, reach_of, tasks_of
from dominance.record.gradients import task_gradients
from dominance.record.graph import edge_of, leaves
from dominance.record.hooks import Hooks, LeafCapture
from dominance.record.labels import entry_of
from dominance.record.ledger import Ledger
from dominance.record.limits import CannotLook, unrecordable
from dominance.record.naming import Names, caller_frames, names_around
from dominance.record.parameters import ParameterTable
from dominance.record.passes import Pass, pass_of
from dominance.record.picked import may_be_losses
from dominance.record.provenance import describe
from dominance.record.rows import Row
from dominance.record.rules.known import known_class
from dominance.record.sampling import DEFAULT_BURST, Schedule
from dominance.record.sink import Sink
from dominance.record.step import Evaluation, OpenPass, Step, StepInProgress, learning_rates
from dominance.record.steppers import Steppers
from dominance.record.tasks import Found, FoundTask, Root, TaskFinder, Unnamed
from dominance.record.theta import Theta

UNNAMED = "a loss of a new structure has no names until a forward has kept its source lines"
NO_MIXTURE = "a backward() starts from a gradient that is no mixture of the tasks' gradients taken there before"
_INSTALLED = {"site-packages", "dist-packages"}
NO_PASS = "no backward() was seen whose gradients the optimizer was fed"


class Recording:
    """Turns the passes and steps of one model into rows.

    Args:
        options: schedule, budget, tasks wanted, attribution.
        sink: where rows go; it lays the run out when the first row comes.
        table: the parameters; an empty one is filled by looking through the program at the first backward().
        hooks: under which passes of our own are made.
        say: prints one line to the user.
        optimizers: record these only; None for every one that steps.
    """

    def __init__(
        self,
        options: RecordOptions,
        sink: Sink,
        table: ParameterTable,
        hooks: Hooks,
        say: Callable[[str], None],
        optimizers: Sequence[Optimizer] | None = None,
    ) -> None:
        self.options = options
        self.sink = sink
        self.table = table
        self.fixed = len(table) > 0
        """Whether the user said which model it is."""
        self.books = Books()
        self.ledger = Ledger()
        self.finder = TaskFinder(options.tasks)
        self.observed: dict[str, Tensor] = {}
        self.step = Step(sink.first_step)
        self.epoch = -1
        self._hooks = hooks
        self._optimizers = optimizers
        self._say = say
        self._steppers = Steppers(options.attribution, optimizers)
        self._schedule = Schedule(options.every, options.burst or 1, start=sink.first_step)
        self._theta = Theta()
        self._copies = Copies(self.ledger, self.table)
        self._cut = Cut()
        self._open: OpenPass | None = None
        self._announced = False
        self._loss_scale = 1.0
        self._residual: list[str] = []
        self._separate: list[str] = []
        self._columns: int | None = None
        self._full = False

    @property
    def records(self) -> bool:
        """Whether the step in progress is one of the schedule."""
        return self._schedule.records(self.step.number)

    @property
    def records_next(self) -> bool:
        """Whether the next one is."""
        return self._schedule.records(self.step.number + 1)

    @property
    def begun(self) -> bool:
        """Whether it has parameters."""
        return len(self.table) > 0

    @property
    def unfinished(self) -> str | None:
        """Why the step that was begun last, and not seen to be taken, could not have been recorded."""
        return self.step.spoiled

    @property
    def gone(self) -> bool:
        """Whether the script has let the model go: every one whose parameters a task reaches."""
        return self.table.gone(self.ledger.reached)

    def holds(self, tensors: Iterable[Tensor]) -> bool:
        """Whether any of these is a parameter of this model."""
        return any(tensor in self.table.named for tensor in tensors)

    # Found: what a backward() is made of

    def know(self, tensors: Sequence[Tensor]) -> None:
        """See to it that these leaf tensors have names."""
        if not self.fixed and not self.sink.laid_out and any(tensor not in self.table.named for tensor in tensors):
            self._steppers.known = self.table.discover(tensors, caller_frames())

    def begin(self, inside: StepInProgress | None) -> bool:
        """A pass of the script begins, perhaps inside an optimizer's step; whether it is to be looked at."""
        self._open = None  # of a backward() that ended in an exception
        if self.step.over and inside is None:
            self.finish()
        self.step.passes += 1
        if inside is not None:
            inside.passes += 1
        again = inside is not None and inside.last is not None
        if not self.records or (again and inside is not None and not self._looks_again(inside)):
            return False
        if inside is not None and inside.last is not None:
            self.ledger.drop_held()
        if self.ledger.look() and inside is None and not self.step.over:
            self._skipped()
        return self.records

    def begin_theta(self) -> None:
        """The parameters are known: this is where they are at the start of the step."""
        if unrecordable(self.table.named, self.table.modules) is not None:
            return  # the memory of a shard may not be there
        given = self._optimizers
        mine = None if given is None else {p for optimizer in given for p in learning_rates(optimizer)}
        self._theta.begin(p for p in self.table.named if p.requires_grad and (mine is None or p in mine))

    def begin_grad(
        self, inside: StepInProgress | None, starts: Sequence[Sequence[Root]], inputs: Sequence[Tensor]
    ) -> bool:
        """The script is about to take gradients; whether they may be of training, and are to be looked at.

        Args:
            inside: the optimizer's step that it is in.
            starts: of each gradient, what it is taken of.
            inputs: the tensors that they are taken by.
        """
        leaf = [tensor for tensor in inputs if tensor.is_leaf]
        first = next((roots for roots in starts if roots), None)
        if first is None:
            return False
        # By what lies between the losses and the parameters: the script may go on from there.
        between = len(leaf) < len(inputs) and may_be_losses(first)
        ours = between or any(p in self.table.named for p in leaf)
        if not between and self.beside(leaf):
            return False
        if not ours and (self.sink.laid_out or self.fixed):
            return False
        if self.step.over and inside is None:
            self.finish()
        if not self.records:
            return False
        self.know(reached_by(first) if between else leaf)
        if not between and (self.beside(leaf) or not any(p in self.table.named for p in leaf)):
            return False
        self.step.passes += 1
        self.ledger.look()
        self.begin_theta()
        return True

    def _looks_again(self, inside: StepInProgress) -> bool:
        """Whether a later evaluation of a closure may be the one that the step is made of, or one of several."""
        return known_class(inside.optimizer) != "LBFGS" or self._adds_up(inside) is not None

    def _adds_up(self, inside: StepInProgress) -> Attributor | None:
        """What splits the step, where it is made of the gradients of each evaluation of the closure."""
        attributor = self._steppers.get(inside.optimizer)
        return attributor if isinstance(attributor, Attributor) and attributor.wants_evaluations else None

    def open_pass(self, roots: list[Root], inputs: Sequence[Tensor] | None) -> bool:
        """Find the tasks of a backward() and take their gradients; or capture them from the script's own pass.

        Args:
            roots: what it is called on.
            inputs: the only tensors whose ``.grad`` it fills; None for all leaves.

        Raises:
            Exception: whatever a pass of our own raises.
        """
        with self._hooks.own_pass(self.table.modules, self.table.named):
            names = names_around(caller_frames())
            self._loss_scale = names.loss_scale
            try:
                found = self._found_below(roots) or self.finder.find(roots, names, self.table.ids(), self.observed)
            except Unnamed:
                self.step.spoiled = UNNAMED
                return False
            found.total /= names.loss_scale
            del names
            self._open = self._opened(found, roots, inputs) if found.tasks else None
        # What is said within a pass of ours is not heard.
        self._residual += [name for name in found.residual if name not in self._residual]
        self._separate += [name for name in found.separate if name not in self._separate]
        self._columns = found.columns
        for text in found.words:
            if self.books.remark(text):
                self._say(text)
        return self._open is not None

    def _opened(self, found: Found, roots: Sequence[Root], inputs: Sequence[Tensor] | None) -> OpenPass:
        filled = None if inputs is None else {id(tensor) for tensor in inputs}
        trainable = [p for p in self.table.trainable() if filled is None or id(p) in filled]
        between = self._between(roots, filled)
        if len(found.tasks) == 1 and not found.residual and not found.separate and not self.observed:
            capture = LeafCapture([*trainable, *between])
            return OpenPass(found, {found.tasks[0].name: capture.gradients}, {}, capture)
        opened = OpenPass(found, _taken(found.tasks, [*trainable, *between]), _taken(found.beside, trainable), None)
        for task in (*found.tasks, *found.beside):
            task.edges.clear()  # nodes: they would keep the graph alive until the step
        return opened

    def _found_below(self, roots: Sequence[Root]) -> Found | None:
        """The tasks of a pass that goes on from gradients which the script has taken before.

        Raises:
            CannotLook: it starts where these were taken, and from something else.
        """
        if not self._cut.starts(roots):
            return None
        found = self._cut.found(roots)
        if found is None:
            raise CannotLook(NO_MIXTURE)
        return found

    def _between(self, roots: Sequence[Root], filled: set[int] | None) -> list[Tensor]:
        """Detached copies of what lies between the losses and the parameters, whose ``.grad`` the pass fills."""
        reached = [] if self.observed else reached_by(roots)
        return [
            tensor
            for tensor in reached
            if tensor not in self.table.named and tensor.requires_grad and not isinstance(tensor, nn.Parameter)
            if tensor.dim() > 1 and (filled is None or id(tensor) in filled)
        ]

    def cannot_look(self, reason: str) -> None:
        """A pass of ours might change the training: none is made, and the step cannot become a row."""
        first = not self.books.unrecorded and self.step.spoiled is None
        self.step.spoiled = reason
        if first:
            self._say(f"step {self.step.number} is not recorded: {reason}")

    def close_pass(self) -> None:
        """The backward() is over: enter it in the ledger."""
        if self._open is not None:
            if self._open.capture is not None:
                self._open.capture.remove()
            self._enter_open([p for p in self.table.named if p not in self._open.entered])
            self._open = None

    def _enter_open(self, parameters: Iterable[Tensor]) -> None:
        opened = self._open
        if opened is None:
            return
        parameters = list(parameters)
        for held in opened.taken.values():
            strange = {tensor: held.pop(tensor) for tensor in list(held) if tensor not in self.table.named}
            self._keep_between(opened.found, {name: strange for name, g in opened.taken.items() if g is held})
        made = pass_of(opened.found, opened.taken, opened.beside)
        hooked = opened.capture is None and self._hooks.kept_quiet > 0
        self.ledger.enter(made, parameters, more=bool(opened.entered), hooked=hooked)
        opened.entered.update(parameters)

    def take(self, roots: Sequence[Root], inputs: Sequence[Tensor]) -> Callable[[Sequence[Tensor | None]], None] | None:
        """The script takes gradients with autograd.grad; what is returned is called with them."""
        with self._hooks.own_pass(self.table.modules, self.table.named):
            found = self._found_by_grad(roots, inputs)
            if found is None or not found.tasks:
                return None
            if len(found.tasks) > 1:
                taken = _taken(found.tasks, [p for p in inputs if p.requires_grad and p in self.table.named])
                between = [tensor for tensor in inputs if not tensor.is_leaf]
                if between:
                    self._keep_between(found, _taken(found.tasks, between))
                return lambda result: self.ledger.take(pass_of(found, taken))
        return functools.partial(self._took, found, list(inputs))

    def _found_by_grad(self, roots: Sequence[Root], inputs: Sequence[Tensor]) -> Found | None:
        if not roots:
            return None
        if self._cut.starts(roots) and (found := self._cut.found(roots)) is not None:
            return found
        between = any(not tensor.is_leaf for tensor in inputs)
        if (between or len(roots) > 1) and not may_be_losses(roots):
            return None
        self.finder.expand, expand = False, self.finder.expand
        reached = self.table.ids() if between else {id(p) for p in inputs}
        try:
            return self.finder.find(list(roots), _names_of(roots), reached, self.observed, taken=True)
        except Unnamed:
            # Whether the step is made of it shows when the optimizer is fed; then it is unexplained.
            return None
        finally:
            self.finder.expand = expand

    def _took(self, found: Found, inputs: Sequence[Tensor], result: Sequence[Tensor | None]) -> None:
        kept = {p: g.detach().clone() for p, g in zip(inputs, result, strict=True) if g is not None}
        name = found.tasks[0].name
        self._keep_between(found, {name: {tensor: g for tensor, g in kept.items() if not tensor.is_leaf}})
        kept = {p: g for p, g in kept.items() if p in self.table.named}
        if kept:
            self.ledger.take(pass_of(found, {name: kept}))

    def _keep_between(self, found: Found, taken: Mapping[str, Mapping[Tensor, Tensor]]) -> None:
        """Task gradients at tensors that are no parameters, from which the script may go on."""
        for task in found.tasks:
            for gradient in taken.get(task.name, {}).values():
                self._cut.keep(found, task, gradient)

    def expects(self, reached: Sequence[Tensor], inside: StepInProgress | None) -> bool:
        """Whether task gradients that somebody tells, by these leaf tensors, are to be recorded."""
        if self.step.over and inside is None:
            self.finish()
        if not self.records:
            return False
        if not self.sink.laid_out:
            self.know(reached)
        self.begin_theta()
        return any(p in self.table.named for p in reached)

    def enter(self, made: Pass, inside: StepInProgress | None) -> None:
        """Take in task gradients whose sum has just been added to ``.grad``, or that a step is given directly."""
        self.step.passes += 1
        if inside is None:
            self.ledger.look_after(made)
            self.ledger.enter(made, self.table.named)
        else:
            self.ledger.feed(made)
            inside.fed = Evaluation(self.ledger, self.ledger.read(inside.parameters))

    # Fed and stepped

    def beside(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these are tensors of a method, like task weights: no model owns them, though models are trained.

        A step of an optimizer that holds no others is no training step of its own.
        """
        known = [self.table.named[tensor] for tensor in tensors if tensor in self.table.named]
        bare = bool(known) and all(named.module == "Tensor" for named in known)
        return bare and any(named.module != "Tensor" for named in self.table.named.values())

    def may_step(self, optimizer: Optimizer) -> bool:
        """Whether a step without a closure can be one of training.

        Without gradients nothing moves; and a step at rate zero with no backward() before it is taken to have the
        optimizer make its state, as torch.distributed.checkpoint does.
        """
        if all(p.grad is None for p in learning_rates(optimizer)) and not self.ledger.given:
            return bool(getattr(type(optimizer), "announces_updates", False))
        rates = [group.get("lr") for group in optimizer.param_groups]
        still = bool(rates) and all(rate is not None and float(rate) == 0 for rate in rates)
        return not still or self.step.passes > 0

    def before_step(self, going: StepInProgress, outer: Sequence[StepInProgress], *, closure: bool) -> None:
        """Keep what the step will overwrite: the gradients that it is fed, and the parameters."""
        optimizer = going.optimizer
        held = learning_rates(optimizer)
        going.parameters = [p for p in held if p in self.table.named] if len(self.table) else list(held)
        again = id(optimizer) in self.step.stepped or any(p in self.step.moved for p in going.parameters)
        if again and not self._hooks.in_backward and not self.beside(held):
            self.finish()
        if not self._steppers.ours(optimizer) or not self.records or (again and self.beside(held)):
            self._steppers.missed(optimizer)
            return
        if self.step.spoiled is None:
            # Before anything of them is read: the memory of a shard may not be there.
            self.step.spoiled = unrecordable(going.parameters, self.table.modules)
        if self.step.spoiled is not None:
            self._steppers.missed(optimizer)
            return
        going.recorded = True
        for wrapper in outer:
            # An optimizer that wraps another: the inner one takes the step, and counts.
            wrapper.wraps = True
            self._steppers.drop(wrapper.optimizer)
        attributor = self._steppers.begin(optimizer)
        if self.options.burst is None and attributor.has_momentum:
            self._schedule.burst = DEFAULT_BURST
        if self._hooks.in_backward:
            # It steps within the backward pass, as soon as the gradient is there.
            going.parameters = [p for p in going.parameters if p.grad is not None]
            self._enter_open(going.parameters)
        self._strangers(optimizer, held)
        self._theta.begin(going.parameters)
        self._theta.before_step(going.parameters)
        self._copies.fill(going.parameters)
        if not closure:
            going.fed = Evaluation(self.ledger, self.ledger.read(going.parameters, _grad_scale(optimizer)))
        attributor.before_step(going.parameters)

    def _strangers(self, optimizer: Optimizer, held: Iterable[Tensor]) -> None:
        if not self.sink.laid_out or self.fixed:
            return
        others = sum(1 for p in held if not self.sink.holds(p) and p.requires_grad and p in self.table.named)
        unknown = sum(1 for p in held if p not in self.table.named and p.requires_grad)
        if others + unknown and self.options.params == "*":
            text = (
                f"{others + unknown} parameter tensors that {type(optimizer).__name__} got after the run was laid out "
                "are not recorded"
            )
            if self.books.remark(text):
                self._say(f"at step {self.step.number}: {text}")

    def evaluated(self, going: StepInProgress, result: Any) -> None:
        """The closure of a step returned this: these may be the gradients that the step is made of."""
        if not going.recorded or going.wraps:
            return
        again = going.first is not None
        if again and not self._looks_again(going):
            return
        here = Evaluation(self.ledger.copy(), self.ledger.read(going.parameters, _grad_scale(going.optimizer)))
        attributor = self._adds_up(going)
        if attributor is not None:
            loss = result.detach() if isinstance(result, Tensor) else result
            attributor.evaluated(float(loss), fed(here.books, here.totals).splits)
            if again:
                return
        going.first = going.first or here
        going.last = here
        if again:
            going.theta = {p: p.detach().clone() for p in going.parameters}

    def after_step(self, going: StepInProgress) -> None:
        """Split the step that was taken."""
        optimizer = going.optimizer
        if not going.recorded or going.wraps:
            self._stepped(going)
            return
        moved = self._theta.after_step(going.parameters)
        if not moved and going.first is None and self._manipulated(going):
            # It moves nothing and writes into .grad: what it makes is for another optimizer's step.
            self._steppers.drop(optimizer)
            return
        self._stepped(going)
        used = _used(going, self.ledger)
        attributor = self._steppers.get(optimizer)
        if attributor is None or not used.totals:
            return
        beside = self.beside(going.parameters)
        if beside and not used.books.passes:
            return
        if self.step.spoiled is None and not used.books.passes and not used.books:
            self.step.spoiled = NO_PASS
        if self.step.spoiled is not None:
            return
        self._steppers.recorded(optimizer)
        found = fed(used.books, used.totals, self.sink.tasks)
        if beside:
            for known in found.splits.values():
                # What trains the loss weights, say: nobody misses a task there.
                known.unexplained = None
        if len(found.roots) > 1:
            self.finder.expand = False
        self.step.fed.append(found)
        self._announce_once()
        rates = learning_rates(optimizer)
        row = self._row(found)
        if not attributor.additive and not row.solo:
            # It came when the run was laid out for steps that are linear: there is no place for solo updates.
            text = f"steps of {type(optimizer).__name__} are not split: {attributor.note}"
            if self.books.remark(text):
                self._say(f"from step {self.step.number} on, {text}")
        for p, split in attributor.splits(found.splits):
            if p in found.totals and row.holds(p):
                row.add(p, float(rates[p]), found.totals[p], found.splits.get(p, GradientSplit({})), split)
        if attributor.step_skipped:
            row.skip()
        self.ledger.moved(found.parts)
        self.ledger.stepped([*found.totals, *self._copies.stepped(found.totals)])
        self._of_nobody(optimizer, found)

    def _of_nobody(self, optimizer: Optimizer, found: Fed) -> None:
        """Say once that an optimizer steps a good part of the parameters by gradients of which nothing is known."""
        mine = sum(p.numel() for p in found.totals)
        if found.tasks or 10 * mine < sum(p.numel() for p in self.table.named):
            return
        text = f"{type(optimizer).__name__} steps {len(found.totals)} parameter tensors by gradients of no loss seen"
        if found.separate:
            text = (
                f"{', '.join(found.separate)}: no task, since it trains a model of its own, which "
                f"{type(optimizer).__name__} steps, and no parameter of the other tasks"
            )
        if self.books.remark(text):
            self._say(text)

    def _stepped(self, going: StepInProgress) -> None:
        self.step.passes = 0
        if not self.beside(going.parameters):
            self.step.stepped.add(id(going.optimizer))
        self.step.moved.update(going.parameters)

    def _manipulated(self, going: StepInProgress) -> bool:
        before = {} if going.fed is None else going.fed.totals
        now = self.ledger.read(going.parameters)
        return now.keys() != before.keys() or any(not torch.equal(now[p], before[p]) for p in now)

    def step_parts(self, optimizer: Optimizer, task: str, parts: Mapping[Tensor, Tensor]) -> None:
        """One task's part of the step that an optimizer is taking."""
        attributor = self._steppers.get(optimizer)
        if isinstance(attributor, AnnouncedAttributor):
            attributor.take(task, parts)

    # Kept

    def close(self, *, ended: str, complete: bool | None = None, **attrs: Any) -> None:
        """End the run, and say what does not add up in it."""
        whole = ended == "complete" if complete is None else complete
        self.sink.close(complete=whole, **{**self._closing(), "ended": ended, **attrs})
        for line in self.books.lines():
            self._say(line)

    def let_go(self) -> None:
        """Hold nothing of the model any more; what was counted of it stays."""
        self.ledger, self.table, self._theta = Ledger(), ParameterTable(), Theta()
        self._copies = Copies(self.ledger, self.table)
        self.finder, self.step = TaskFinder(self.options.tasks), Step(self.step.number)
        self._steppers = Steppers(self.options.attribution, None)
        self.sink.let_go()

    def _closing(self) -> dict[str, Any]:
        """What the run's attributes say of it in the end."""
        # Of optimizers that are gone stays what was said when the run was laid out.
        described = [describe(attributor) for attributor in self._steppers.attributors]
        known = {"optimizers": described} if described and len(described) >= self.sink.optimizers else {}
        return {"steps_taken": self.step.number, **self.books.attributes(), **known}

    def finish(self) -> None:
        """The training step is over: hand over its row, and go on to the next."""
        step = self.step
        if not step.over:
            return
        row = step.row
        if row is not None and step.spoiled is None:
            self._losses(row, joined(step.fed))
            for p, moved, taken in self._theta.outside():
                if row.holds(p):
                    row.outside(p, moved, taken, [one.splits[p] for one in step.fed if p in one.splits])
            self._hand_over(row)
            self._spend()
        elif self.records:
            self.books.missed(step.spoiled or NO_PASS, step.number)
        self._next()

    def _next(self) -> None:
        self._theta.next(keep=self.records_next)
        self._cut = Cut()
        if self.step.spoiled is not None or not self.records_next:
            self.ledger.clear()
        self.ledger.close_step()
        self.step = Step(self.step.number + 1)
        self._open = None

    def _skipped(self) -> None:
        """Gradients that were not finite were thrown away without a step."""
        if not self.sink.laid_out:
            # GradScaler's first scale is often too large: the first step is still to come.
            self.ledger.clear()
            return
        row = self.sink.row(self.step.number, self.epoch)
        losses = losses_of(self.ledger)
        losses.weight = {}
        self._losses(row, losses)
        row.skip()
        self._hand_over(row)
        self.ledger.clear()
        self._next()

    @staticmethod
    def _losses(row: Row, losses: Losses) -> None:
        loss, weight = (
            {name: value for name, value in each.items() if row.knows(name)} for each in (losses.loss, losses.weight)
        )
        row.losses(loss, weight, losses.total)

    def _row(self, found: Fed) -> Row:
        """The row of this step; it, and the run, take in what this optimizer's step shows."""
        if not self.sink.laid_out:
            reach = reach_of(self.ledger)
            tasks = [*tasks_of(self.ledger), *found.tasks]
            self.sink.lay_out(self.table, tasks, reach, self._steppers, self._schedule)
        for name in self.sink.take_in(found.tasks, found.reach):
            self._say(f"one more task at step {self.step.number}: {name}")
        if self.step.row is None:
            self.step.row = self.sink.row(self.step.number, self.epoch)
        else:
            self.step.row.widen(self.sink.tasks)
        return self.step.row

    def _hand_over(self, row: Row) -> None:
        if self.sink.append(row):
            self.books.row(self.step.number, row)
        elif not self._full:
            self._full = True
            self._say(f"the budget is used up at step {self.step.number}: steps are left out (--budget for more)")

    def _spend(self) -> None:
        if self._schedule.spend(self.sink.used, self.options.budget, self.step.number):
            interval = self._schedule.every * self._schedule.stretch
            self._say(
                f"half of the budget that was left is used at step {self.step.number}: "
                f"from now on one step in {interval} is recorded (--budget for more)"
            )

    # Said

    def announce(self) -> None:
        """Say which tasks were found, once; with ``strict`` wrong ones end the script.

        Raises:
            SystemExit: with code 2, where ``strict`` is set and the tasks are not found as asked.
        """
        if self._announced or (self.step.spoiled is not None and not self.options.strict):
            return
        self._announced = True
        found = fed(self.ledger, self.ledger.read(self.table.named))
        weights = {name: w / self._loss_scale for name, w in found.announced.items() if not math.isnan(w)}
        lines = self.sink.announce(found.tasks, weights, self._residual, self._separate, self._columns)
        wanted = self.options.tasks
        right = len(found.tasks) >= 2 if wanted is None else set(wanted) <= set(found.tasks)
        for line in lines:
            self._say(line)
        if not right and self.options.strict:
            raise SystemExit(2)

    def _announce_once(self) -> None:
        """Of gradients that nobody could announce before the step."""
        if not self._announced and not self.options.strict and not self._hooks.in_backward:
            self.announce()


def _taken(tasks: Sequence[FoundTask], trainable: Sequence[Tensor]) -> dict[str, dict[Tensor, Tensor]]:
    taken: dict[str, dict[Tensor, Tensor]] = {}
    for task in tasks:
        per_parameter = task_gradients(task.edges, task.gradients, trainable)
        held = taken.setdefault(task.name, {})
        for p, gradient in zip(trainable, per_parameter, strict=True):
            if gradient is not None:
                held[p] = held[p] + gradient if p in held else gradient
    return taken


def _used(going: StepInProgress, books: Ledger) -> Evaluation:
    """The gradients that the step was made of.

    Of several evaluations of a closure it is the last, from which the step went on (SAM: the gradient at the disturbed
    weights); where the step ends at the weights of the last one, that one only confirmed it (a line search), and the
    first gave the direction.
    """
    if going.first is None or going.last is None:
        if going.fed is not None and not going.passes:
            return going.fed
        return going.fed if going.fed is not None and books.given else Evaluation(books, books.read(going.parameters))
    stays = bool(going.theta) and all(torch.equal(p, going.theta[p]) for p in going.parameters)
    return going.first if stays else going.last


def _grad_scale(optimizer: Optimizer) -> float:
    """What GradScaler leaves for a fused optimizer to take out of the gradients."""
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)


def _names_of(roots: Sequence[Root]) -> Names:
    """The names around a call of autograd.grad: the script's own, where it calls what is differentiated by one.

    A library that takes the gradients on its behalf has its own words for losses, and one word for all of them.
    """
    frames = caller_frames()
    own = names_around([frame for frame in frames if not _INSTALLED.intersection(Path(frame.f_code.co_filename).parts)])
    if all(own.is_known(root.edge) or entry_of(root.edge, own.vectors) for root in roots):
        return own
    return names_around(frames)


def roots_of(outputs: Sequence[Any], gradients: Sequence[Any]) -> list[Root]:
    """What a backward() is called on."""
    return [
        Root(edge_of(output), torch.ones_like(output) if gradient is None else gradient.detach(), output)
        for output, gradient in zip(outputs, gradients, strict=True)
        if isinstance(output, Tensor) and output.requires_grad and output.grad_fn is not None
    ]


def reached_by(roots: Sequence[Root]) -> list[Tensor]:
    """The leaf tensors that a pass from these roots reaches."""
    return leaves([root.edge[0] for root in roots])
