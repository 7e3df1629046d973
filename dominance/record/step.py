"""One training step, from its first backward pass to its row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from dominance.record.guest.hooks import LeafCapture
from dominance.record.split.fed import Fed
from dominance.record.split.in_passing import RowsCapture
from dominance.record.split.ledger import Ledger
from dominance.record.split.remainders import Remainder
from dominance.record.split.sampled import TaskProducts
from dominance.record.tasks.cut import Cut
from dominance.record.tasks.finder import Found
from dominance.record.write.rows import StepRow


@dataclass
class OpenPass:
    """A backward() that is going on: found, and its task gradients taken or being captured."""

    found: Found
    taken: dict[str, dict[Tensor, Tensor]]
    beside: dict[str, dict[Tensor, Tensor]]
    capture: LeafCapture | RowsCapture | None
    rest: Remainder | None = None
    """The task whose gradient is what the others leave; it is taken when the pass is over."""
    products: dict[Tensor, TaskProducts] = field(default_factory=dict)
    """What is known of gradients of which only the kept coordinates were taken."""
    entered: set[Tensor] = field(default_factory=set)
    """Parameters whose gradient of this pass is in the ledger already: their optimizer steps within the pass."""


@dataclass
class ClosureRun:
    """What a closure left: the books, and the gradients that a step now would be fed."""

    books: Ledger
    totals: dict[Tensor, Tensor]


@dataclass
class StepInProgress:
    """One optimizer between its pre-hook and its post-hook."""

    optimizer: Optimizer
    counts: bool
    """Whether it is part of a training step at all: one without gradients is not."""
    recorded: bool = False
    parameters: list[Tensor] = field(default_factory=list)
    """The recorded parameters that it steps."""
    fed: ClosureRun | None = None
    """The gradients before the step; None where a closure is still to make them."""
    first: ClosureRun | None = None
    last: ClosureRun | None = None
    theta: dict[Tensor, Tensor] = field(default_factory=dict)
    """The parameters at the last evaluation of the closure."""
    wraps: bool = False
    """Whether another optimizer has stepped inside: that one's step is the step."""
    taken_by: Optimizer | None = None
    """The optimizer of a method that takes this step in the place of the script's."""
    passes: int = 0
    """Backward passes made inside."""
    watched: bool = False
    """Whether the evaluations of its closure are heard."""


@dataclass
class Step:
    """The state of a training step: found, fed, stepped, split, until it is kept."""

    number: int
    passes: int = 0
    """Passes of the script since the last step of an optimizer in it."""
    spoiled: str | None = None
    """Why it cannot become a row."""
    stepped: set[int] = field(default_factory=set)
    """Ids of the optimizers that have taken it."""
    moved: set[Tensor] = field(default_factory=set)
    """The recorded parameters that they have stepped."""
    rested: Sequence[Tensor] = ()
    """The same of an optimizer's step that nobody has looked at."""
    open: OpenPass | None = None
    """The backward() that is going on."""
    separate: list[str] = field(default_factory=list)
    """Losses of backward() calls that held no task, and train a model of their own."""
    cut: Cut = field(default_factory=Cut)
    """The gradients that were taken between the losses and the parameters."""
    fed: list[Fed] = field(default_factory=list)
    rows: dict[Tensor, Tensor] = field(default_factory=dict)
    """The rows that parameters were fed gradients of, where these are kept by rows."""
    sparse: set[Tensor] = field(default_factory=set)
    """Parameters whose gradients may be kept by rows from the next step on."""
    row: StepRow | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """How many examples or tokens each group has in the passes so far, where tasks are groups."""
    unit: str = ""
    """What is counted."""
    counts_of_all: dict[str, int] | None = None
    """The counts of all processes that have averaged these passes; None: this one's are all."""

    @property
    def over(self) -> bool:
        """Whether an optimizer has stepped: the next backward() belongs to another step."""
        return bool(self.stepped)

    def again(self) -> None:
        """The next one, after a step of which nobody has looked at anything."""
        self.number += 1
        self.passes = 0
        self.stepped.clear()
        self.rested = ()
        self.open = None

    def has_moved(self, parameters: Iterable[Tensor]) -> bool:
        """Whether an optimizer has stepped any of these."""
        return not self.moved.union(self.rested).isdisjoint(parameters)

    def count(self, found: Found) -> None:
        """Add what a pass has of each group."""
        self.unit = found.unit or self.unit
        for name, number in found.counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def count_all(self, everyone: Iterable[tuple[str, Mapping[str, int]]]) -> None:
        """Take the sums of what each process has counted of this step so far, with its unit."""
        self.counts_of_all = {}
        for unit, counts in everyone:
            self.unit = self.unit or unit
            for name, number in counts.items():
                self.counts_of_all[name] = self.counts_of_all.get(name, 0) + number


def learning_rates(optimizer: Optimizer) -> dict[Tensor, Any]:
    """The nominal learning rate of each parameter; NaN where its group has none."""
    return {p: group.get("lr", float("nan")) for group in optimizer.param_groups for p in group["params"]}
