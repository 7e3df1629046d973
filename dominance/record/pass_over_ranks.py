"""The processes of a training in each pass: who makes it together, and what becomes of gradients that they average."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from dominance.record import at_backward
from dominance.record.group import Group
from dominance.record.guest.hooks import Hooks
from dominance.record.guest.limits import CannotLook
from dominance.record.guest.parallel import divides_by_all, parameters_of, uneven
from dominance.record.guest.sharded import groups_below, to_be_gathered
from dominance.record.ranks import exchange, manual_averaging
from dominance.record.ranks.shards import Sharded, Shards
from dominance.record.recording import Recording
from dominance.record.sharded_models import refresh

ALONE = (
    "the training averages its gradients over several processes, of which not all are recorded: the tasks' gradients "
    "are those of this process alone; torchrun --nproc-per-node N -m dominance record SCRIPT records them all"
)

LOCAL = (
    "the gradients are those of each process alone, as local SGD takes them, and the run is that of rank 0; where "
    "weights are averaged over the processes, that moves them outside of the optimizer's step"
)

IN_PART = (
    "the gradients are means over rank 0's part of the processes, as local SGD takes them; where weights are averaged "
    "over all, that moves them outside of the optimizer's step"
)

APART = (
    "a backward() came after the one in which DistributedDataParallel averages the gradients: what it adds is of each "
    "process alone, and the processes' weights drift apart; the run is that of rank 0"
)

OUT_OF_INPUTS = "steps that others take when rank 0 has no inputs left are not recorded"


class PassOverRanks:
    """What a pass of this process shares with those of others.

    Args:
        hooks: whose ``ranks`` hear of the wrappers that average.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._ranks = hooks.ranks
        self._shards = Shards()
        self._sharded: Sharded | None = None
        """The model that the pass in progress goes through, where it is sharded."""

    @property
    def pending(self) -> bool:
        """Whether a pass that goes on may average the gradients over processes, which then have to take part in it."""
        return bool(self._ranks.pending)

    @property
    def groups(self) -> Sequence[Any]:
        """Of the sharded model that the pass goes through, what is gathered together."""
        return [] if self._sharded is None else self._sharded.groups

    def begin(self, run: Recording, reached: Callable[[], Sequence[Tensor]]) -> tuple[Group | None, str | None]:
        """The processes that make this pass together, as far as they are known, and what they gather for it.

        Raises:
            CannotLook: of which nothing can be recorded.
        """
        ranks, self._sharded = self._ranks, None
        sharded = groups_below(reached(), run.table.modules)
        if sharded:
            ranks.before_pass(averages=True)
            self._sharded = self._shards.begin(ranks, sharded)
            return self._sharded.group, to_be_gathered(sharded)
        averaging = ranks.reached(reached)
        if run.sink.silent and ranks.own(averaging):
            raise CannotLook(LOCAL)  # its gradients are in no run
        if averaging:
            ranks.announce(averaging)
        ranks.before_pass(averages=bool(averaging))
        return ranks.known_group(averaging), None

    def close(self, run: Recording) -> None:
        """The pass is over: take in its gradients, averaged as the processes have averaged them."""
        models = self._ranks.averaged()
        group = self._ranks.group_of(models)
        refresh(run.table.named)
        sharded, self._sharded = self._sharded, None
        if sharded is not None:
            at_backward.close_averaged(run, functools.partial(self._shards.over, run, sharded), hooked=False)
        elif group is None:
            self._close_alone(run, models)
        else:
            if group.size < run.ranks:
                _remark(run, f"from step {run.step.number} on, ", IN_PART)
            parameters = [p for model in models for p in parameters_of(model)]
            by_all = all(map(divides_by_all, models))
            average = functools.partial(exchange.average, run, group, parameters, by_all=by_all)
            at_backward.close_averaged(run, average, hooked=any(model._comm_hooks for model in models))

    def _close_alone(self, run: Recording, models: Sequence[Any]) -> None:
        """The gradients are this process's own, and so will the run be."""
        at_backward.close_pass(run)
        if own := self._ranks.own(models):
            run.ranks = 1
        if models:
            _remark(run, f"from step {run.step.number} on, " if own else "", LOCAL if own else ALONE)

    def idle(self) -> None:
        """Take part in the average of a pass that nobody has looked at."""
        models = self._ranks.averaged()
        if uneven(models) and (group := self._ranks.group_of(models)) is not None:
            exchange.idle(group)

    def shadow(self, run: Recording, model: Any, group: Group) -> None:
        """This process has run out of inputs, and the others have made a pass."""
        recorded = exchange.shadow(group, parameters_of(model), by_all=divides_by_all(model))
        if recorded and group.rank == 0:
            _remark(run, f"from step {run.step.number} on: ", OUT_OF_INPUTS)

    def average_by_hand(self, run: Recording, held: Sequence[Tensor]) -> None:
        """The script may have averaged the gradients over the processes itself, since its last backward()."""
        group = self._ranks.group_met()
        if group is not None:
            manual_averaging.average(run, group, [p for p in held if p.requires_grad])
        elif run.ledger.half_averaged(held):
            _remark(run, f"at step {run.step.number}: ", APART)


def _remark(run: Recording, since: str, text: str) -> None:
    """Say it, and keep it in the run's books; once."""
    if run.books.remark(text):
        run.say(f"{since}{text}")
