"""What a recording says to the user: the tasks that were found, and in the end what does not add up."""

from __future__ import annotations

import math
from typing import Any

from dominance.record.recording import Recording
from dominance.record.split.fed import Fed, fed
from dominance.record.split.losses import losses_of
from dominance.record.write.provenance import describe
from dominance.schema import LOSS_SUM, TRAINING_LINES


def close(run: Recording, *, ended: str, complete: bool | None = None, **attrs: Any) -> None:
    """End the run, and say what does not add up in it."""
    whole = ended == "complete" if complete is None else complete
    if (beyond := run.overhead.exceeded()) is not None:
        run.say(beyond)
    run.sink.close(complete=whole, **{**_closing(run), "ended": ended, **attrs})
    for line in (*run.sink.told(), *run.books.lines()):
        run.say(line)


def _closing(run: Recording) -> dict[str, Any]:
    """What the run's attributes say of it in the end."""
    # Of optimizers that are gone stays what was said when the run was laid out.
    described = [describe(attributor) for attributor in run.steppers.attributors]
    described += [run.hand.describe()] if run.hand.stepped else []
    known = {"optimizers": described} if described and len(described) >= run.sink.optimizers else {}
    took = {"overhead": run.overhead.facts()}
    return {"steps_taken": run.step.number, **took, **run.books.attributes(), **known}


def announce(run: Recording, found: Fed | None = None) -> None:
    """Say which tasks were found, once; with ``strict`` wrong ones end the script.

    Args:
        run: the recording.
        found: what a step was fed; None: what one would be fed now.

    Raises:
        SystemExit: with code 2, where ``strict`` is set and the tasks are not found as asked.
    """
    if run.announcement.made or (run.step.spoiled is not None and not run.options.strict):
        return
    run.announcement.made = True
    found = fed(run.ledger, run.ledger.read(run.table.named)) if found is None else found
    tasks, announced = found.tasks, found.announced
    if not tasks:
        # Optimizers that step within the pass, each of a parameter, may have cleared what they were fed.
        announced = losses_of(run.ledger).weight
        stepped = {name for each in run.step.fed for name in each.tasks}
        tasks = [name for name in announced if name in stepped]
    weights = {name: w / run.announcement.loss_scale for name, w in announced.items() if not math.isnan(w)}
    lines = run.sink.announce(
        tasks, weights, run.announcement.residual, run.announcement.separate, run.announcement.columns
    )
    known = {LOSS_SUM: run.finder.sources.sum, TRAINING_LINES: run.finder.sources.loop}
    if any(known.values()):
        run.sink.know(**{name: said for name, said in known.items() if said is not None})
    wanted = run.options.tasks
    right = len(tasks) >= 2 if wanted is None else set(wanted) <= set(tasks)
    missing = run.not_as_asked()
    split = [run.batches.split] if run.batches is not None and run.batches.split is not None else []
    for line in (*missing, *split, *lines):
        run.say(line)
    if (missing or not right) and run.options.strict:
        raise SystemExit(2)


def announce_once(run: Recording, found: Fed | None = None) -> None:
    """Of gradients that nobody could announce before the step."""
    if not run.announcement.made and not run.options.strict and not run.hooks.in_backward:
        announce(run, found)
