"""The end of a training step: its row is handed over, or why there is none is counted."""

from __future__ import annotations

import functools

from dominance.record.ranks.sums import add_up
from dominance.record.recording import Recording
from dominance.record.split.by_rows import spread
from dominance.record.split.fed import Fed, reach_of, tasks_of
from dominance.record.split.losses import Losses, joined, losses_of
from dominance.record.step import Step
from dominance.record.write.rows import StepRow
from dominance.schema import GROUPS, UNRECORDED_LOSS
from dominance.unattributed import MOST_UNATTRIBUTED

NO_PASS = "no backward() was seen whose gradients the optimizer was fed"


def finish(run: Recording) -> None:
    """The training step is over: hand over its row, and go on to the next."""
    step = run.step
    if not step.over:
        return
    if step.rested and step.row is None and not (run.ledger.accounts or run.ledger.passes or run.theta.start):
        _next_at_rest(run)
        return
    row = step.row if step.spoiled is None else None
    if row is not None:
        row.settle()
    run.left_out.step_over(None if row is None else row.norms())
    if row is not None:
        _losses(row, joined(step.fed))
        _outside(run, row)
    if run.sharing is not None and run.records and not run.prepares:
        without = step.spoiled or (without_pass(step) if row is None else None)
        step.spoiled = add_up(run.sharing, step.number, without, {} if row is None else row.values)
        row = row if step.spoiled is None else None
    if row is not None:
        _keep(run, row)
    elif run.records and not run.prepares:
        run.books.missed(step.spoiled or without_pass(step), step.number)
    elif run.prepares and step.spoiled is None:
        _keep_losses(run)
    _next(run)


def _next_at_rest(run: Recording) -> None:
    """Go on from a step that was counted, as the one before: nothing of it is held anywhere."""
    run.overhead.step_over(recorded=False, prepared=False)
    if run.step.spoiled is not None or run.step.moved:
        run.step = Step(run.step.number + 1)
    else:
        run.step.again()


def _outside(run: Recording, row: StepRow) -> None:
    """Into the row comes what moved outside the optimizers' steps."""
    for p, moved, taken, rows in run.theta.outside():
        if row.holds(p):
            fed = [one.splits[p] for one in run.step.fed if p in one.splits]
            if rows is None and p in run.step.rows:
                fed = [split.turned(functools.partial(spread, rows=run.step.rows[p], like=p)) for split in fed]
            row.outside(p, moved, taken, fed, rows, run.sampled.get(p))


def _keep(run: Recording, row: StepRow) -> None:
    """Hand the row over, unless a longer burst is to come of which more of the momentum is known."""
    if run.ranks > 1 or row.unattributed() <= MOST_UNATTRIBUTED or not run.schedule.prepare_longer(run.step.number):
        _hand_over(run, row)
    else:
        _keep_losses(run)
    hand_over_unrecorded(run)
    if run.ranks == 1:
        run.spend(run.sink.spent)  # else all hear of it in their next pass


def without_pass(step: Step) -> str:
    """Why nothing is known of a step that was looked at, and to which no pass belongs."""
    if step.separate:
        return f"{', '.join(step.separate)}: no task, since it trains a model of its own"
    return NO_PASS


def _next(run: Recording) -> None:
    run.overhead.step_over(recorded=run.records, prepared=run.prepares)
    run.theta.next(keep=run.records_next)
    if run.step.spoiled is not None or not run.records_next:
        run.ledger.clear()
    run.ledger.close_step()
    for p in run.step.sparse:
        run.ledger.keep_rows(p)
    run.step = Step(run.step.number + 1)


def skipped(run: Recording) -> None:
    """Gradients that were not finite were thrown away without a step."""
    if not run.sink.laid_out:
        # GradScaler's first scale is often too large: the first step is still to come.
        run.ledger.clear()
        return
    if not run.prepares:
        row = run.sink.row(run.step.number, run.epoch)
        losses = losses_of(run.ledger)
        losses.weight = {}
        _losses(row, losses)
        row.skip()
        _hand_over(run, row)
    run.ledger.clear()
    _next(run)


def _losses(row: StepRow, losses: Losses) -> None:
    loss, weight = (
        {name: value for name, value in each.items() if row.knows(name)} for each in (losses.loss, losses.weight)
    )
    row.losses(loss, weight, losses.total)


def row_of(run: Recording, found: Fed) -> StepRow:
    """The row of this step; it, and the run, take in what this optimizer's step shows."""
    if not run.sink.laid_out:
        reach = reach_of(run.ledger)
        tasks = [*tasks_of(run.ledger), *found.tasks]
        run.overhead.on_device = any(p.device.type != "cpu" for p in run.table.named)
        run.sink.lay_out(run.table, tasks, reach, run.steppers, run.schedule)
        for note in run.sink.told():
            run.say(note)
    for name in run.sink.take_in(found.tasks, found.reach):
        run.say(f"one more task at step {run.step.number}: {name}")
    if run.step.row is None:
        run.step.row = run.sink.row(run.step.number, run.epoch)
    else:
        run.step.row.widen(run.sink.tasks)
    return run.step.row


def _hand_over(run: Recording, row: StepRow) -> None:
    if run.sink.append(row):
        run.books.row(run.step.number, row)
        _counts(run)
    elif not run.full:
        run.full = True
        run.say(f"the budget is used up at step {run.step.number}: steps are left out (--budget for more)")


def _keep_losses(run: Recording) -> None:
    """Of a step that prepares a burst nothing else is kept."""
    if run.ranks == 1 and run.sharing is None:
        run.unrecorded_losses.prepared(joined(run.step.fed).loss, step=run.step.number, epoch=run.epoch)


def hand_over_unrecorded(run: Recording, *, last: bool = False) -> None:
    """Hand over the losses that were read in steps that are not recorded.

    Args:
        last: nothing comes after them.
    """
    for each in run.unrecorded_losses.take(last=last):
        if each.task in run.sink.tasks:
            run.sink.log({"loss": each.loss}, step=each.step, epoch=each.epoch, task=each.task, split=UNRECORDED_LOSS)


def _counts(run: Recording) -> None:
    """How many examples of each group the step saw; of a group that none of its batches has, none."""
    step = run.step
    counts = step.counts if step.counts_of_all is None else step.counts_of_all
    if counts:
        run.announcement.groups |= dict.fromkeys(counts)
        for name in run.announcement.groups:
            run.sink.log({step.unit: counts.get(name, 0)}, step=step.number, epoch=run.epoch, task=name, split=GROUPS)
