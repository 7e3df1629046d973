"""Watches one process: which model's recording each backward() and each step() of the script belongs to."""

from __future__ import annotations

import contextlib
import functools
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from torch import Tensor
from torch.optim import Optimizer

from dominance.config import RecordOptions
from dominance.errors import BadOption, RunExists
from dominance.record import at_backward, at_grad, at_manual_step, at_step, at_unrecorded_step, messages
from dominance.record.end_of_step import hand_over_unrecorded
from dominance.record.fail_safe import harmless
from dominance.record.group import Group, Lost
from dominance.record.guest.batches import Batches
from dominance.record.guest.hooks import Hooks
from dominance.record.guest.limits import CannotLook
from dominance.record.guest.parallel import of_first, this_rank
from dominance.record.guest.sharded import gathered
from dominance.record.optimizer_listener import Silent, Told
from dominance.record.parameters import ParameterTable
from dominance.record.pass_over_ranks import PassOverRanks
from dominance.record.ranks.collectives import Meeting, meeting_for
from dominance.record.recording import Recording
from dominance.record.sharded_models import meet_any, piece_of, refresh, view
from dominance.record.split.passes import Pass
from dominance.record.step import StepInProgress, learning_rates
from dominance.record.successive_models import Following
from dominance.record.tasks.finder import Found, Root
from dominance.record.tasks.graph import Node, first_leaves
from dominance.record.tasks.outputs import Outputs
from dominance.record.tasks.picked import picked
from dominance.record.tasks.roots import reached_by, roots_of
from dominance.record.tasks.source_lines import SourceLines
from dominance.record.write.averages import NOT_TOGETHER
from dominance.record.write.sink import Sink


class Look(NamedTuple):
    """What a backward() of the script was found to be made of."""

    recording: Recording
    found: Found | None
    """None where its tasks have no names."""
    roots: list[Root]
    reached: list[Tensor]
    """The leaf tensors below."""


NESTED = "a gradient hook runs a backward() of its own inside backward(): its gradients are no known task's"

SPAWNED = (
    "processes that torch.multiprocessing starts are not recorded: let torchrun start them, as in "
    "torchrun --nproc-per-node N -m dominance record SCRIPT"
)

FORKED = (
    "processes that are forked are not recorded: start them by spawn, or let torchrun start them, as in "
    "torchrun --nproc-per-node N -m dominance record SCRIPT"
)

ONLY_BACKWARD = "of a sharded model, gradients are known by backward() only: the script takes them otherwise"

_ASKS = 3
"""How often source lines are kept again because modules got parameters, without any model coming of it."""


class StepRecorder:
    """Hands what hooks tell to the recording that it is about. Implements ``Watcher`` and ``Observer``.

    Args:
        options: schedule, budget, tasks wanted, attribution.
        sink: where the rows of the first model go.
        table: its parameters; an empty one is filled by looking through the program at the first backward().
        say: prints one line to the user.
        optimizers: record these only; None for every one that steps.
        another: makes the sink of one more model of this process, by its number from 2 on; None: there is only one.
    """

    def __init__(
        self,
        options: RecordOptions,
        sink: Sink,
        table: ParameterTable,
        say: Callable[[str], None],
        optimizers: Sequence[Optimizer] | None = None,
        another: Callable[[int], Sink] | None = None,
    ) -> None:
        self.hooks = Hooks(self)
        self.failure: str | None = None
        said_once = of_first(say)
        self.models = Following(Recording(options, sink, table, self.hooks, said_once, optimizers), another)
        self._observed: dict[str, Tensor] = {}
        self._outputs = Outputs(options.columns, self.fail)
        self._batches = Batches(options.groups, self.fail)
        self._say = say
        self._lines = SourceLines()
        self._asks_left, self._new_models = _ASKS, 1
        self._going: list[StepInProgress] = []
        self._told = Told(self)
        self.silent = Silent(self._told, self.hooks)
        """Passes in this block are looked at by nobody: they are no backward() of the script, and tell of no task."""
        self._over = PassOverRanks(self.hooks)
        self.passes: Callable[[], object] = bool
        """Called whenever the script goes back through a graph, recorded or not."""
        self.method = ""
        """The method that takes the place of the script's backward(); "" where there is none."""
        self._method_rests = False
        """Whether it has made the last pass without having it looked at."""
        self._step_rests = False
        """Whether the step of the script's optimizer that goes on is such a one."""
        self.hooks.ranks.joined = self._shadow
        self.hooks.ranks.leaving = self._finish_shared
        self.hooks.starts.heard = lambda forked: self.recording.say(FORKED if forked else SPAWNED)

    @property
    def recording(self) -> Recording:
        """Of the model that trains now."""
        return self.models.now

    def _hand_on(self, nodes: Sequence[Node]) -> None:
        """What the user has said of the tasks of a pass that starts from these nodes."""
        recording = self.recording
        recording.observed = self._observed or self._outputs.before(nodes)
        recording.not_as_asked = self._not_as_asked
        recording.batches = None if recording.observed or recording.options.groups is None else self._batches

    def _not_as_asked(self) -> list[str]:
        return self._outputs.missing() + self._batches.missing()

    # Life

    def start(self) -> None:
        """Install the hooks. Until the first backward pass, autograd keeps the source line of every node."""
        self.hooks.install()
        try:
            self._outputs.start()
            self._batches.start()
            self._told.start()
            self._lines.on()
        except BaseException:
            self._lines.off()
            self._told.stop()
            self._batches.stop()
            self._outputs.stop()
            self.hooks.remove()
            raise

    def stop(self, *, whole: bool = True) -> None:
        """Take the hooks away and hand over the last row.

        Args:
            whole: the script has come to its end, and so will the other processes of a training.
        """
        self._told.stop()
        self._batches.stop()
        self._outputs.stop()
        self.hooks.remove()
        if os.getpid() == self.hooks._pid:
            for recording in self.models.all:
                self._finish_last(recording, whole=whole)
            self.hooks.ranks.close()
        self._lines.end()

    def fail(self, error: BaseException) -> None:
        """Record no more, and say why; the script goes on."""
        where = traceback.extract_tb(error.__traceback__)
        place = f" ({os.path.basename(where[-1].filename)}:{where[-1].lineno})" if where else ""
        self.failure = f"{type(error).__name__}: {error}".splitlines()[0] + place
        strict = self.recording.options.strict and isinstance(error, BadOption | RunExists)
        goes_on = "" if strict else ", the training goes on"
        text = f"recording stopped at step {self.recording.step.number}{goes_on}: {self.failure}"
        if not this_rank():
            self._say(text)
        elif not isinstance(error, Lost):  # that of which another process is the cause is said there
            self._say(f"rank {this_rank()}: {text}")
        self._lines.off()
        self._batches.stop()
        self._outputs.stop()
        for recording in self.models.all:
            recording.ledger.clear()
        self.hooks.ranks.close()
        if strict:  # what was asked for cannot be had, as where the tasks are not found
            raise SystemExit(2)

    def _finish_shared(self) -> None:
        """The processes of a training part: what takes all of them is to be done now."""
        if self.failure is None and not self._going:
            for recording in self.models.all:
                if recording.sharing is not None:
                    self._finish_last(recording, whole=True)

    @harmless
    def _finish_last(self, recording: Recording, *, whole: bool) -> None:
        try:
            together = recording.sharing is not None and recording.parted != recording.step.number
            if together and not whole:
                raise Lost(NOT_TOGETHER)
            at_manual_step.finish(recording)
            hand_over_unrecorded(recording, last=True)
            if recording.sharing is not None and together:
                recording.sink.put_together(recording.sharing)
                recording.parted = recording.step.number
        except Lost as error:
            if recording.step.over:
                recording.books.missed(str(error), recording.step.number)
                recording.step.number += 1

    @harmless
    def settle(self) -> None:
        """Between two training steps: hand over the last one's row now, not when the next one begins.

        Nothing is done where that takes all processes: perhaps only this one is asked.
        """
        if not self._going and self.recording.sharing is None:
            at_manual_step.finish(self.recording)

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """Names for the tasks of the next backward(); see ``dominance.observe``."""
        if not isinstance(losses, Mapping) or not all(isinstance(loss, Tensor) for loss in losses.values()):
            raise TypeError('observe takes a mapping of task names to loss tensors, like {"depth": loss_depth}')
        self._observed = {str(name): loss for name, loss in losses.items() if loss.requires_grad}

    @harmless
    def log(self, task: str | None, split: str, metrics: Mapping[str, float]) -> None:
        """Metrics at the present step; see ``dominance.log``."""
        here = self.recording
        here.sink.log(metrics, step=here.step.number, epoch=here.epoch, task=task, split=split)

    @property
    def _inside(self) -> StepInProgress | None:
        """The step of an optimizer that is going on; one that cannot be of training is none."""
        return self._going[-1] if self._going and self._going[-1].counts else None

    # What hooks tell

    def _passes(self) -> None:
        """The script goes back through a graph: what came before this is over."""
        self._batches.backward()
        self.passes()

    @property
    def _unmoved(self) -> bool:
        """Whether nothing goes on that is to be looked at even in a step that is not recorded."""
        if self.failure is not None or self._going or not self._lines.over:
            return False
        return not self.hooks.ranks.pending and not self.hooks.in_backward

    def rests_at_backward(self, outputs: Sequence[Any]) -> bool:
        """Whether this backward() is one between bursts, and has been counted."""
        if self.method and not self._method_rests:
            return False
        if not self._unmoved or not at_unrecorded_step.backward(self.models.now, outputs):
            return False
        self._passes()
        return True

    def rests_at_step(self, optimizer: Optimizer) -> bool:
        """Whether the step that an optimizer is about to take is one between bursts, and has been counted."""
        if self.method and not self._method_rests:
            return False
        if not self._unmoved or not at_unrecorded_step.step(self.models.now, optimizer):
            return False
        self._observed = {}
        self._outputs.clear()
        self._step_rests = bool(self.method)
        return True

    def taken_by(self, optimizer: Optimizer) -> AbstractContextManager[None]:
        """In this block an optimizer takes the step that the script's would take; it goes by where that one does."""
        if self._step_rests:
            self._step_rests = False
            return Silent(self._told, self.hooks, optimizer)
        if self._going:
            self._going[-1].taken_by = optimizer
        return contextlib.nullcontext()

    def before_backward(
        self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]
    ) -> Callable[[], None] | None:
        """Take the task gradients of this backward(), where this step is recorded."""
        finish = self._over_ranks(self._before_backward(outputs, gradients, inputs))
        stepped = self.recording.hand.found
        if stepped is not None and self.failure is None and not self.recording.announcement.made:
            # Outside the shield: with --strict this ends the script.
            messages.announce(self.recording, stepped)
        return finish

    @harmless
    def _before_backward(
        self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]
    ) -> Callable[[], None] | None:
        self._lines.off()
        self._passes()
        roots = roots_of(outputs, gradients)
        # A walk through the whole graph, made once, and not where nobody asks.
        reached = functools.cache(lambda: [piece_of(leaf) for leaf in reached_by(roots)])
        some = first_leaves([root.edge[0] for root in roots])
        meet_any(some)
        some = [piece_of(leaf) for leaf in some]
        self.models.turn_to(some, reached)
        recording = self.recording
        recording.copies.meet(some)
        refresh(recording.table.named)
        if self._inside is None and at_manual_step.look(recording):
            self._after_hand()
        self._hand_on([root.edge[0] for root in roots])
        if recording.step.over and recording.beside(some) and recording.beside(reached()):
            return self._lines.on
        if not at_backward.begin(recording, self._inside) or not roots:
            at_unrecorded_step.losses(recording, outputs)
            return self._lines.on
        recording.know(reached)
        only = [tensor for tensor in inputs if isinstance(tensor, Tensor)] if len(inputs) else None
        nodes = [root.edge[0] for root in roots]
        meeting: Meeting | None = None
        try:
            group, gathers = self._over.begin(recording, reached)
            meeting = None if group is None else meeting_for(nodes, group, gathers)
            self.hooks.look(nodes, recording.table.modules)
            if group is None:
                meeting_for(nodes, None)
            if meeting is not None:
                meeting.hold(looks=True)
            recording.begin_theta()
            at_manual_step.begin(recording, reached)
            with gathered(self._over.groups):
                at_backward.open_pass(recording, roots, only, reached)
        except CannotLook as limit:
            at_backward.cannot_look(recording, limit.reason)
            if meeting is not None:
                with contextlib.suppress(CannotLook):  # it is not looked at anyway
                    meeting.hold(looks=False)
        except Exception as error:  # noqa: BLE001  a graph that was freed, say: then the script's own call fails as well
            return functools.partial(self.fail, error)
        return self._after_backward

    def _over_ranks(self, finish: Callable[[], None] | None) -> Callable[[], None] | None:
        """The same, where the pass may average the gradients over processes that then have to take part in it all."""
        if not self._over.pending or self.failure is not None:
            return finish

        def over() -> None:
            if finish is not None:
                finish()
            # Where nobody has looked at the pass.
            self._unrecorded_average()

        return over

    @harmless
    def _shadow(self, model: Any, group: Group) -> None:
        """This process has run out of inputs, and the others have made a pass."""
        self._over.shadow(self.recording, model, group)

    @harmless
    def _unrecorded_average(self) -> None:
        self._over.idle()

    def _after_backward(self) -> None:
        opened = self.recording.step.open is not None
        self._close_pass()
        # Of a closure, when an evaluation is over: it may make several passes.
        within = self._inside is not None and not self._inside.watched
        if opened and self.failure is None and (within or self.recording.step.over):
            messages.announce(self.recording)

    @harmless
    def _close_pass(self) -> None:
        self._over.close(self.recording)
        self._lines.on()

    @harmless
    def nested(self) -> None:
        """A hook of the script runs a backward() inside the one that is going on: whose gradients these are is not
        known."""
        at_backward.cannot_look(self.recording, NESTED)

    def before_grad(
        self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Tensor | None]], None] | None:
        """Take over the gradients that the script takes of one loss by the parameters."""
        told = self._before_rows(outputs, [gradients], inputs)
        return None if told is None else lambda result: told([result])

    def before_rows(
        self, outputs: Sequence[Any], rows: Sequence[Sequence[Tensor | None]], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Sequence[Tensor | None]]], None] | None:
        """Take over the gradients of several losses, taken in one call."""
        return self._before_rows(outputs, rows, inputs)

    @harmless
    def _before_rows(
        self, outputs: Sequence[Any], rows: Sequence[Sequence[Tensor | None]], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Sequence[Tensor | None]]], None] | None:
        self._lines.off()
        self._passes()
        starts = [roots_of(outputs, row) for row in rows]
        if len(rows) > 1 or len(outputs) > 1:
            starts = [picked(roots) for roots in starts]
        tensors = [i for i in inputs if isinstance(i, Tensor)]
        if leaf := [tensor for tensor in tensors if tensor.is_leaf]:
            self.models.turn_to(leaf, lambda: leaf)
        else:
            self.models.turn_to(first_leaves([root.edge[0] for roots in starts[:1] for root in roots]))
        recording = self.recording
        self._hand_on([root.edge[0] for roots in starts for root in roots])
        if len(tensors) < len(inputs) or not at_grad.begin_grad(recording, self._inside, starts, tensors):
            return lambda results: self._lines.on()
        try:
            nodes = {root.edge[0] for roots in starts for root in roots}
            if recording.table.in_pieces:
                raise CannotLook(ONLY_BACKWARD)
            self.hooks.look(nodes, recording.table.modules)
            meeting_for(nodes, None)
            at_manual_step.begin(recording, lambda: leaf)
            took = [at_grad.take(recording, roots, tensors) for roots in starts]
        except CannotLook as limit:
            at_backward.cannot_look(recording, limit.reason)
            return lambda results: self._lines.on()
        return functools.partial(self._after_rows, took, tensors)

    @harmless
    def _after_rows(
        self,
        took: Sequence[Callable[[Sequence[Tensor | None]], None] | None],
        inputs: Sequence[Tensor],
        results: Sequence[Sequence[Tensor | None]],
    ) -> None:
        self._lines.on()
        for each, result in zip(took, results, strict=True):
            if each is not None:
                each(result)
        at_manual_step.took(self.recording, inputs, results)

    def before_step(
        self, optimizer: Optimizer, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Keep what the step will overwrite. Returns the arguments with a closure that is watched, if there is one."""
        closure = self._before_step(optimizer, args, kwargs)
        going = self._inside
        if going is None or not going.recorded or self.failure is not None:
            return None
        if self.recording.ledger and not self.hooks.in_backward:
            # Outside the shield: with --strict this ends the script.
            messages.announce(self.recording)
        if closure is None:
            return None
        watched, going.watched = self._watched(closure, going), True
        return tuple(watched if a is closure else a for a in args), {
            name: watched if a is closure else a for name, a in kwargs.items()
        }

    @harmless
    def _before_step(
        self, optimizer: Optimizer, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Callable[..., Any] | None:
        closure = next((a for a in (*args, *kwargs.values()) if callable(a) and not isinstance(a, Tensor)), None)
        optimizer = view(optimizer)
        held = list(learning_rates(optimizer))
        # A closure makes the first pass of a new model within its optimizer's step.
        self.models.turn_to(held, None if closure is None else lambda: held)
        recording = self.recording
        refresh(held)
        if recording.ledger:
            self._lines.end()
        if any(going.optimizer is optimizer for going in self._going):
            # Its last step ended in an exception, before any post-hook.
            self._going.clear()
        going = StepInProgress(optimizer, counts=closure is not None or at_step.may_step(recording, optimizer))
        outer = [other for other in self._going if other.counts]
        self._going.append(going)
        if going.counts:
            if closure is None and recording.records and not outer and not self.hooks.in_backward:
                self._over.average_by_hand(recording, held)
            at_step.before_step(recording, going, outer, closure=closure is not None)
        return closure

    def _watched(self, closure: Callable[..., Any], going: StepInProgress) -> Callable[..., Any]:
        @functools.wraps(closure)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = closure(*args, **kwargs)
            if self.failure is None and self.recording.ledger:
                # Outside the shield: with --strict this ends the script.
                messages.announce(self.recording)
            self.hooks.tell(self._evaluated, going, result)
            return result

        return watched

    @harmless
    def _evaluated(self, going: StepInProgress, result: Any) -> None:
        at_step.evaluated(self.recording, going, result)

    def after_step(self, optimizer: Optimizer) -> None:
        """Split the step that was taken."""
        optimizer = view(optimizer)
        going = next((going for going in reversed(self._going) if going.optimizer is optimizer), None)
        if going is None:
            return
        if going.counts:
            self._after_step(going)
            self._observed = {}
            self._outputs.clear()
        self._lines.end()
        if self.recording.finder.lines_asked and self.failure is None:
            self._lines.ask(self.recording.records_next or bool(self.method))
        if going in self._going:
            self._going.remove(going)

    @harmless
    def _after_step(self, going: StepInProgress) -> None:
        refresh(going.parameters)
        at_step.after_step(self.recording, going)

    def _after_hand(self) -> None:
        """A step was taken by hand, before the pass that begins now: its losses may have been named already."""
        if self._observed is self.recording.observed:
            self._observed = {}
        self._lines.end()
        if self.recording.finder.lines_asked:
            self._lines.ask(self.recording.records_next)

    def registered(self) -> None:
        """Parameters come up: perhaps of a model that follows, whose first forward is to keep its source lines."""
        before, self._new_models = self._new_models, len(self.models.all) + len(self.models.over)
        if self._new_models > before:
            self._asks_left = _ASKS
        if self._lines.over and self._asks_left > 0 and self.failure is None:
            self._asks_left -= 1
            self._lines.ask(True)

    # What a method asks that takes the place of the script's backward()

    def look(self, outputs: Sequence[Any], gradients: Sequence[Any]) -> Look:
        """What a backward() of the script is made of; on every step, recorded or not.

        Raises:
            CannotLook: a pass of our own might change the training.
        """
        self._method_rests = self._step_rests = False
        self._lines.off()
        self._passes()
        roots = roots_of(outputs, gradients)
        reached = reached_by(roots)
        self.models.turn_to(reached, lambda: reached)
        recording = self.recording
        self._hand_on([root.edge[0] for root in roots])
        recording.know(lambda: reached)
        self.hooks.look([root.edge[0] for root in roots], recording.table.modules)
        found = at_backward.look(recording, roots) if roots else None
        self._lines.on()
        return Look(recording, found, roots, reached)

    def calm(self, outputs: Sequence[Any]) -> bool:
        """Whether a backward() of a method may go by without being looked at, as far as the recording is concerned."""
        run, told = self.recording, self._observed
        asked = told or run.options.columns or run.options.groups
        return self._unmoved and not asked and run.sink.laid_out and at_unrecorded_step.may(run, outputs)

    def rests_with_method(self, outputs: Sequence[Any]) -> bool:
        """Whether this backward() of a method, between bursts, has been counted."""
        self._method_rests = at_unrecorded_step.backward(self.recording, outputs)
        return self._method_rests

    def says(self, losses: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """The script's own losses, and its weights of them, of the pass that a method makes next."""
        self._told.losses, self._told.weights = losses, weights

    # What the optimizers of dominance.optim tell

    @contextlib.contextmanager
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
        self.models.turn_to(reached, lambda: reached)
        return at_backward.expects(self.recording, reached, self._inside)

    def enter(self, made: Pass) -> None:
        """Take in task gradients whose sum has just been added to ``.grad``, or that a step is given directly."""
        at_backward.enter(self.recording, made, self._inside)
        if not self.method:  # which looks at each backward() itself: another may follow in this step
            self._lines.end()

    def step_parts(self, optimizer: Optimizer, task: str, parts: Mapping[Tensor, Tensor]) -> None:
        """One task's part of the step that an optimizer is taking."""
        if any(going.optimizer is optimizer for going in self._going):
            at_step.step_parts(self.recording, optimizer, task, parts)
