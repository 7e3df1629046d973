"""The recording of one model: each training step is found, fed, stepped, split, and kept as a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.config import RecordOptions
from dominance.record.gradient_by_difference import LeftOut
from dominance.record.group import Group
from dominance.record.guest.batches import Batches
from dominance.record.guest.hooks import Hooks
from dominance.record.guest.limits import unrecordable
from dominance.record.manual_steps import ByHand
from dominance.record.parameters import Named, ParameterTable
from dominance.record.rules.known import known_class
from dominance.record.split.attribution import Attributor
from dominance.record.split.copies import Copies
from dominance.record.split.fed import Fed
from dominance.record.split.ledger import Ledger
from dominance.record.split.one_pass import Apart
from dominance.record.split.steppers import Steppers
from dominance.record.split.theta import Theta
from dominance.record.step import Step, StepInProgress, learning_rates
from dominance.record.tasks.finder import TaskFinder
from dominance.record.tasks.naming import caller_frames
from dominance.record.unrecorded_losses import UnrecordedLosses
from dominance.record.unrecorded_steps import Resting
from dominance.record.write.books import Books
from dominance.record.write.overhead import Overhead
from dominance.record.write.schedule import DEFAULT_BURST, EVERY, Schedule, warm_up_for
from dominance.record.write.sink import Sink

NOT_HELD = "what recording takes is not held to a share: several processes have to record the same steps"


@dataclass
class Announcement:
    """What is to be said of the tasks that were found, once."""

    made: bool = False
    loss_scale: float = 1.0
    """A factor of GradScaler's on the losses, which the weights are told without."""
    residual: list[str] = field(default_factory=list)
    """Terms of the losses that are no tasks."""
    separate: list[str] = field(default_factory=list)
    """Losses that share no parameter with a task."""
    columns: tuple[int, str | None] | None = None
    """Columns of the output before the only loss, where there are such, and the path of the module that puts it out."""
    constants: dict[str, float] = field(default_factory=dict)
    """Task -> the constant within what its loss is called by, see ``constant_within``; 1 where it changes."""
    groups: dict[str, None] = field(default_factory=dict)
    """Tasks that are groups of examples, as far as they have come up."""


class Recording:
    """The state of what turns the passes and steps of one model into rows; the functions around it are

    - ``at_backward`` and ``at_grad``: a pass of the script is looked at, and enters the ledger;
    - ``at_step``: an optimizer's step is split by what the ledger says that it was fed;
    - ``kept``: the step's row is handed over, or why there is none is counted;
    - ``said``: the tasks are announced, and what does not add up is said.

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
        self.by_rows: set[Tensor] = set()
        """Parameters whose gradients are kept by rows, as the ledger and theta know."""
        self._as_wholes: set[Tensor] = set()
        """Those for which that did not do."""
        self.sampled: dict[Tensor, Tensor] = {}
        """Parameters whose tasks' gradients and steps are looked at at these coordinates alone."""
        self.ledger = Ledger(by_rows=self.by_rows, sampled=self.sampled)
        self.finder = TaskFinder(options.tasks)
        self.observed: dict[str, Tensor] = {}
        self.step = Step(sink.first_step)
        self.epoch = -1
        self.hooks = hooks
        self.optimizers = optimizers
        self.say = say
        self.steppers = Steppers(options.attribution, optimizers)
        self.ranks = 1
        """Of how many processes the gradients are means."""
        self.overhead = Overhead(options.overhead, self._seconds)
        self.schedule = self._schedule(sink.first_step)
        self.resting = Resting()
        self.unrecorded_losses = UnrecordedLosses()
        self.theta = Theta(by_rows=self.by_rows, sampled=self.sampled)
        self.hand = ByHand()
        self.copies = Copies(self.ledger, self.table)
        self.apart = Apart(sampled=self.sampled)
        self.left_out = LeftOut()
        self.announcement = Announcement()
        self.batches: Batches | None = None
        """Where the groups of the loss's examples are known from; None: they are not asked for."""
        self.not_as_asked: Callable[[], list[str]] = list
        """What the user asked for besides tasks and that is not there, in words."""
        self.full = False
        """Whether the budget has been used up."""
        self.strange: frozenset[int] = frozenset()
        """Ids of parameters that an optimizer holds and the run does not know, when that was looked into last."""
        self.sharing: Group | None = None
        """The processes, where each has a piece of every parameter: rows are sums over them."""
        self.parted = -1
        """Steps of this training when its processes parted, and had put together all that each has of it."""

    def _schedule(self, start: int) -> Schedule:
        options = self.options
        # Several processes record the same steps, and each has a clock of its own.
        affords = self.overhead.affords if options.overhead is not None and self.ranks == 1 else None
        dense = options.burst is None
        # What is to be held thins by itself.
        every = EVERY if options.every is None and affords is not None else options.every
        return Schedule(every, options.burst or 1, start=start, dense_at_first=dense, affords=affords)

    def _seconds(self) -> float:
        """Spent on the recording so far."""
        return self.hooks.seconds() + self.sink.busy

    @property
    def records(self) -> bool:
        """Whether the step in progress is one of the schedule: recorded, or one that prepares those."""
        return self.schedule.records(self.step.number)

    @property
    def prepares(self) -> bool:
        """Whether nothing is kept of it: the tasks' momenta are followed for the steps to come."""
        return self.schedule.prepares(self.step.number)

    def remembers(self, carry: float) -> None:
        """The steps are made of earlier gradients as well, of which this factor is left from one to the next."""
        if self.options.burst is None:
            self.schedule.burst = DEFAULT_BURST
            if (needed := warm_up_for(carry)) > self.schedule.warm_up:
                self.schedule.warm_up = needed

    @property
    def records_next(self) -> bool:
        """Whether the next one is."""
        return self.schedule.records(self.step.number + 1)

    @property
    def splits_steps(self) -> bool:
        """Whether this process works out the parts of a step: another does that writes the run, but of pieces."""
        return not self.sink.silent or self.sharing is not None

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

    @property
    def bare(self) -> bool:
        """Whether its parameters are tensors that no module owns, as a toy's are."""
        return _bare(self.table.named.values())

    def holds(self, tensors: Iterable[Tensor]) -> bool:
        """Whether any of these is a parameter of this model."""
        return any(tensor in self.table.named for tensor in tensors)

    def know(self, reached: Callable[[], Sequence[Tensor]]) -> None:
        """See to it that these leaf tensors have names, as long as names can be given."""
        if self.fixed or self.sink.laid_out:
            return
        tensors = reached()
        if any(tensor not in self.table.named for tensor in tensors):
            self.steppers.known = self.table.discover(tensors, caller_frames())

    def feed(self, found: Fed) -> None:
        """This is what a step of this training step was fed."""
        if len(found.roots) > 1 and not any(found.roots & self.ledger.tasks[root] - {root} for root in found.roots):
            self.finder.expand = False
        self.step.fed.append(found)

    def begin_theta(self) -> None:
        """The parameters are known: this is where they are at the start of the step."""
        if unrecordable(self.table.named, self.table.modules) is not None:
            return  # the memory of a shard may not be there
        given = self.optimizers
        mine = None if given is None else {p for optimizer in given for p in learning_rates(optimizer)}
        self.theta.begin(p for p in self.table.named if p.requires_grad and (mine is None or p in mine))

    def may_keep_rows(self, parameter: Tensor) -> bool:
        """Whether its gradients can be kept by rows from the next step on, where a step moves the rows that they hold.

        Not of an embedding with a largest norm, which moves rows that no gradient holds yet.
        """
        if any(parameter in known for known in (self.by_rows, self._as_wholes, self.sampled)) or self.ranks > 1:
            return False
        every = (module for model in self.table.modules for module in model.modules())
        tables = (module for module in every if isinstance(module, nn.Embedding | nn.EmbeddingBag))
        if parameter in self.ledger.originals or any(
            table.weight is parameter and table.max_norm is not None for table in tables
        ):
            self._as_wholes.add(parameter)
        return parameter not in self._as_wholes

    def keep_whole(self, parameter: Tensor) -> None:
        """Look at all of this parameter and of its gradients again, from here on."""
        self._as_wholes.add(parameter)
        self.ledger.keep_whole(parameter)

    def beside(self, tensors: Iterable[Tensor]) -> bool:
        """Whether these are tensors of a method, like task weights: no model owns them, though models are trained.

        A step of an optimizer that holds no others is no training step of its own.
        """
        known = [self.table.named[tensor] for tensor in tensors if tensor in self.table.named]
        return _bare(known) and not self.bare

    def looks_again(self, going: StepInProgress) -> bool:
        """Whether a later evaluation of a closure may be the one that the step is made of, or one of several."""
        return known_class(going.optimizer) != "LBFGS" or self.adds_up(going) is not None

    def adds_up(self, going: StepInProgress) -> Attributor | None:
        """What splits the step, where it is made of the gradients of each evaluation of the closure."""
        attributor = self.steppers.get(going.optimizer)
        return attributor if isinstance(attributor, Attributor) and attributor.wants_evaluations else None

    def join(self, ranks: int, *, writes: bool, step: int) -> None:
        """The gradients are means over several processes from here on.

        Args:
            ranks: how many they are.
            writes: whether this one writes the run of them all.
            step: the number of the training step in progress, as that one has it.
        """
        self.ranks = ranks
        if self.options.overhead is not None and self.books.remark(NOT_HELD):
            self.say(NOT_HELD)
        self.sink.of_several(ranks, writes=writes)
        if self.step.number != step or self.options.overhead is not None:
            self.step.number = step
            self.schedule = self._schedule(step)

    def spend(self, share: float) -> None:
        """This share of the budget is used: from half of what was left on, steps are recorded more rarely."""
        if self.schedule.spend(share, self.step.number):
            interval = self.schedule.interval
            self.say(
                f"half of the budget that was left is used at step {self.step.number}: "
                f"from now on one step in {interval} is recorded (--budget for more)"
            )

    def let_go(self) -> None:
        """Hold nothing of the model any more; what was counted of it stays."""
        self.by_rows, self._as_wholes, self.sampled = set(), set(), {}
        self.ledger, self.table = Ledger(by_rows=self.by_rows, sampled=self.sampled), ParameterTable()
        self.apart = Apart(sampled=self.sampled)
        self.left_out = LeftOut()
        self.theta = Theta(by_rows=self.by_rows, sampled=self.sampled)
        self.copies = Copies(self.ledger, self.table)
        self.finder, self.step = TaskFinder(self.options.tasks), Step(self.step.number)
        self.steppers = Steppers(self.options.attribution, None)
        self.hand = ByHand()
        self.resting.clear()
        self.sink.let_go()


def _bare(parameters: Collection[Named]) -> bool:
    """Whether there are some, and no module owns any."""
    return bool(parameters) and all(named.module == "Tensor" for named in parameters)
