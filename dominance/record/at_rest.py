"""Between bursts: a step that is not recorded is counted, and as little else as can be is done about it.

Everything here may answer that it does not know: then the pass, or the step, is looked at as any other is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from dominance.record import kept
from dominance.record.recording import Recording
from dominance.record.tasks.graph import first_leaves


def may(run: Recording, outputs: Sequence[Any]) -> bool:
    """Whether a backward() may be one of a step that is not recorded; nothing is done about it."""
    if run.hand.possible is not False or run.records or (run.step.over and run.records_next) or len(outputs) != 1:
        return False
    return bool(run.resting) and getattr(outputs[0], "grad_fn", None) is not None


def backward(run: Recording, outputs: Sequence[Any]) -> bool:
    """A backward() begins; whether it is one of a step that is not recorded, and has been counted."""
    if not may(run, outputs):
        return False
    node = outputs[0].grad_fn
    leaf = next(iter(first_leaves([node], 1)), None)
    if leaf is None or not run.table.owned(leaf):
        return False  # perhaps of another model, or of a method's own
    kept.finish(run)
    run.step.passes += 1
    run.step.open = None
    return True


def step(run: Recording, optimizer: Optimizer) -> bool:
    """An optimizer is about to step; whether that is no step to record, and has been counted."""
    mine = run.resting.parameters(optimizer)
    if mine is None or run.records or run.records_next or run.step.stepped or not run.step.passes:
        return False
    taker = run.resting.taker(optimizer)
    if mine[0].grad is None or taker is None or run.steppers.get(taker) is None:
        return False
    run.steppers.missed(taker)
    run.step.passes = 0
    run.step.stepped.add(id(optimizer))
    run.step.moved.update(mine)
    return True
