"""What stands around a step that the script takes by hand: it is over when the next pass begins, and is split then."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dominance.record import end_of_step
from dominance.record.end_of_step import row_of
from dominance.record.manual_steps import NOT_LINEAR, held_by_an_optimizer
from dominance.record.messages import announce_once
from dominance.record.recording import Recording
from dominance.record.split.fed import Fed, fed
from dominance.record.split.measured import Measured
from dominance.record.split.splits import GradientSplit

UNREAD = "parameters moved and no optimizer moved them: what gradients they were moved by was not to be seen"

REPLACED = (
    "the script puts new tensors in the place of its parameters at each step, which cannot be followed: "
    "change them in place, as by p.data.sub_()"
)


def begin(run: Recording, reached: Callable[[], Sequence[Tensor]]) -> None:
    """A pass is about to be made that reaches these leaf tensors; the next step may be taken by hand."""
    hand = run.hand
    if hand.possible is None:
        mine = [] if run.optimizers is not None else [p for p in reached() if p in run.table.named]
        if not mine or run.beside(mine):
            return
        hand.possible = not held_by_an_optimizer(mine, run.steppers.known)
    if not hand.possible or run.step.over:
        return
    if run.records:
        fresh = [(p, value) for p, value in run.theta.start.items() if p not in hand.moves.watched]
        hand.moves.begin(fresh)
        run.hooks.grads.watch([p for p, _ in fresh], hand.moves.touched)
    else:
        hand.sample(run.table.trainable())


def took(run: Recording, inputs: Sequence[Tensor], results: Sequence[Sequence[Tensor | None]]) -> None:
    """The script has these gradients from autograd.grad."""
    if run.hand.possible:
        for result in results:
            for p, gradient in zip(inputs, result, strict=True):
                if gradient is not None and p in run.table.named:
                    run.hand.taken.setdefault(p, []).append(gradient)


def optimizer_steps(run: Recording) -> None:
    """An optimizer takes the steps: none is looked for any more."""
    if run.hand.possible is not False:
        run.hooks.grads.rest(run.hand.moves.watched)
        run.hand.possible = False
        run.hand.end(keep=False)


def look(run: Recording) -> bool:
    """See whether a step was taken by hand since the last pass; if so, split it. The training step is over then."""
    hand = run.hand
    if hand.replaces and not run.records and run.step.passes:
        run.step.stepped.add(id(hand))
        return True
    if not hand.possible or run.step.over or not (hand.sample_moved or hand.moves.look()):
        return False
    if not hand.alone:
        if held_by_an_optimizer(run.table.named):
            optimizer_steps(run)  # made after the first pass
            return False
        hand.alone = True
    if run.records and run.step.spoiled is None:
        totals = hand.fed()
        if not totals:
            run.step.spoiled = UNREAD
        elif run.ledger:
            _split(run, totals)
        else:
            run.step.spoiled = end_of_step.NO_PASS
    run.step.passes = 0
    run.step.stepped.add(id(hand))
    run.hooks.grads.rest(hand.moves.watched)
    hand.end(keep=run.records_next)
    return True


def replaced(run: Recording, reached: Sequence[Tensor]) -> bool:
    """Whether these leaf tensors stand in the place of the parameters, as where a function of a dictionary of them is
    trained. Then a step was taken, which is counted, and they are the parameters from here on.
    """
    hand = run.hand
    if not hand.possible or run.sink.laid_out or not run.bare or hand.moves.look():
        return False
    if sorted(p.shape for p in hand.moves.watched) != sorted(p.shape for p in reached if p.requires_grad):
        return False
    run.step.spoiled = REPLACED
    run.step.stepped.add(id(hand))
    run.hooks.grads.rest(hand.moves.watched)
    end_of_step.finish(run)
    run.let_go()
    run.hand.possible = run.hand.replaces = True
    return True


def finish(run: Recording) -> None:
    """The training step is over, if a step was taken by an optimizer or by hand: hand over its row."""
    look(run)
    end_of_step.finish(run)


def _split(run: Recording, totals: dict[Tensor, Tensor]) -> None:
    hand = run.hand
    measured = hand.measured(totals)
    # One that stayed where it was, against the rate of the others, was not stepped.
    totals = {p: total for p, total in totals.items() if hand.moves.watched[p].moves or p in measured}
    found = fed(run.ledger, totals, run.sink.tasks)
    run.feed(found)
    hand.found = found
    announce_once(run, found)
    row = None if run.prepares else row_of(run, found)
    for p, total in totals.items():
        gradient = found.splits.get(p, GradientSplit({}))
        step = hand.split(p, gradient, measured.get(p))
        _between(run, p, measured.get(p))
        if row is not None and row.holds(p):
            rate = measured[p].coefficients.rate if p in measured else float("nan")
            row.add(p, rate, total, gradient, step)
    _say(run, measured, found)
    if hand.remembers or hand.unsplit_steps:
        run.remembers(max((abs(each.coefficients.momentum) for each in measured.values()), default=0.0))
    run.step.moved.update(totals)
    run.ledger.moved(found.parts)
    run.ledger.stepped(totals)


def _between(run: Recording, p: Tensor, of: Measured | None) -> None:
    """Where the step began and ended: what moved the parameter besides is outside of it."""
    each, start = run.hand.moves.watched[p], run.theta.start.get(p)
    if start is None or not each.moves:
        return
    before, after = (each.moves[0].before, each.moves[-1].after) if of is None else _ends(of)
    if not torch.equal(before, start):
        run.theta.before[p] = before
    run.theta.after[p] = after


def _ends(of: Measured) -> tuple[Tensor, Tensor]:
    before, after = of.candidate.before, of.candidate.after
    return before, after if of.whole else before - of.coefficients.rate * of.candidate.fed.to(before.dtype)


def _say(run: Recording, measured: dict[Tensor, Measured], found: Fed) -> None:
    unsplit = len(found.totals) - len(measured)
    if unsplit and run.books.remark(text := f"steps taken by hand are not split into tasks: {NOT_LINEAR}"):
        run.say(f"at step {run.step.number}, of {unsplit} of {len(found.totals)} parameters: {text}")
    if any(each.coefficients.rate < 0 for each in measured.values()):
        text = "steps taken by hand go up the gradient: is that a step of the training?"
        if run.books.remark(text):
            run.say(f"at step {run.step.number}: {text}")
