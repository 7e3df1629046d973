"""Between bursts: a step that is not recorded is counted, and as little else as can be is done about it.

Everything here may answer that it does not know: then the pass, or the step, is looked at as any other is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from dominance.record import end_of_step
from dominance.record.recording import Recording
from dominance.record.tasks.graph import Node, first_leaf, leads_to


def may(run: Recording, outputs: Sequence[Any]) -> bool:
    """Whether a backward() may be one of a step that is not recorded; nothing is done about it."""
    if run.hand.possible is not False or not run.resting or len(outputs) != 1:
        return False
    step, pause = run.step, run.schedule.pause
    if step.number not in pause and run.records:
        return False
    if step.stepped and step.number + 1 not in pause and run.records_next:
        return False
    return getattr(outputs[0], "grad_fn", None) is not None


def backward(run: Recording, outputs: Sequence[Any]) -> bool:
    """A backward() begins; whether it is one of a step that is not recorded, and has been counted."""
    if not may(run, outputs) or not _of_model(run, outputs[0].grad_fn):
        return False
    end_of_step.finish(run)
    run.step.passes += 1
    run.step.open = None
    losses(run, outputs)
    return True


def losses(run: Recording, outputs: Sequence[Any]) -> None:
    """A backward() begins in a step that is not recorded: the losses that it is made of, where they are wanted."""
    number = run.step.number
    if not run.unrecorded_losses.reads(number) or run.records or not run.sink.laid_out or len(outputs) != 1:
        return
    if run.ranks == 1 and run.sharing is None:  # else those of this process alone are no losses of the training
        run.unrecorded_losses.read(outputs[0], step=number, epoch=run.epoch)
        if run.unrecorded_losses.many:
            end_of_step.hand_over_unrecorded(run)


def _of_model(run: Recording, root: Node) -> bool:
    """Whether some leaf below is a parameter of the model; else it is perhaps of another, or of a method's own."""
    resting = run.resting
    if resting.leaf is not None and leads_to(root, resting.way, resting.leaf):
        return True
    leaf, way = first_leaf(root)
    if leaf is None or not run.table.owned(leaf):
        return False
    resting.leaf, resting.way = leaf, way
    return True


def step(run: Recording, optimizer: Optimizer) -> bool:
    """An optimizer is about to step; whether that is no step to record, and has been counted."""
    known, now = run.resting.known(optimizer), run.step
    if known is None or now.stepped or not now.passes:
        return False
    paused = now.number in run.schedule.pause and now.number + 1 in run.schedule.pause
    if not paused and (run.records or run.records_next):
        return False
    mine, taker = known
    if mine[0].grad is None or run.steppers.get(taker) is None:
        return False
    run.steppers.missed(taker)
    now.passes = 0
    now.stepped.add(id(optimizer))
    now.rested = mine
    return True
