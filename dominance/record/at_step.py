"""What stands around an optimizer's step: what it is fed is kept before, and after it the step is split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from dominance.record import answers, at_manual_step
from dominance.record.at_backward import STEPS_WITHIN, enter_open
from dominance.record.end_of_step import finish, row_of, without_pass
from dominance.record.guest.limits import unrecordable
from dominance.record.messages import announce_once
from dominance.record.recording import Recording
from dominance.record.replaced_parameters import follow
from dominance.record.rules.known import known_class
from dominance.record.split.attribution import Attributor
from dominance.record.split.fed import Fed, asked, fed
from dominance.record.split.ledger import Ledger
from dominance.record.split.self_reported import AnnouncedAttributor
from dominance.record.split.splits import GradientSplit, StepSplit
from dominance.record.split.steppers import Splits
from dominance.record.split.theta import unmoved
from dominance.record.step import ClosureRun, StepInProgress, learning_rates
from dominance.record.write.rows import StepRow

_BY_ENTRY = {"SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop", "Adamax", "ASGD"}
"""Classes of torch.optim whose step of one number is made of what is known of that number."""


def may_step(run: Recording, optimizer: Optimizer) -> bool:
    """Whether a step without a closure can be one of training.

    Without gradients nothing moves; and a step at rate zero with no backward() before it is taken to have the
    optimizer make its state, as torch.distributed.checkpoint does.
    """
    if all(p.grad is None for p in learning_rates(optimizer)) and not run.ledger.given:
        return bool(getattr(type(optimizer), "announces_updates", False))
    rates = [group.get("lr") for group in optimizer.param_groups]
    still = bool(rates) and all(rate is not None and float(rate) == 0 for rate in rates)
    return not still or run.step.passes > 0


def before_step(run: Recording, going: StepInProgress, outer: Sequence[StepInProgress], *, closure: bool) -> None:
    """Keep what the step will overwrite: the gradients that it is fed, and the parameters."""
    optimizer = going.optimizer
    held = learning_rates(optimizer)
    at_manual_step.optimizer_steps(run)
    going.parameters = [p for p in held if p in run.table.named and p.numel()] if len(run.table) else list(held)
    again = id(optimizer) in run.step.stepped or run.step.has_moved(going.parameters)
    if again and not run.hooks.in_backward and not run.beside(held):
        finish(run)
    if not run.steppers.ours(optimizer) or not run.records or (again and run.beside(held)):
        run.steppers.missed(optimizer)
        _rests(run, going, outer, closure=closure)
        return
    run.resting.clear()
    if run.step.spoiled is None:
        # Before anything of them is read: the memory of a shard may not be there.
        run.step.spoiled = (
            unrecordable(going.parameters, run.table.modules) or _in_pieces(run, optimizer) or _replaced(run, held)
        )
    if run.step.spoiled is not None:
        run.steppers.missed(optimizer)
        return
    attributor = _begin(run, going, outer)
    if run.hooks.in_backward:
        # It steps within the backward pass, as soon as the gradient is there.
        going.parameters = [p for p in going.parameters if p.grad is not None]
        enter_open(run, going.parameters)
    _strangers(run, optimizer, held)
    plain = not (closure or outer or run.hooks.in_backward or run.ranks > 1)
    for p in [p for p in going.parameters if p in run.by_rows]:
        if not plain or not (p.grad is None or _moves_rows(attributor, p)):
            run.keep_whole(p)
    run.theta.begin(going.parameters)
    with answers.asking(going.parameters):
        if closure or run.hooks.in_backward:
            answers.ask(chain(run.theta.asked(going.parameters), run.ledger.asked(going.parameters)))
        _keep(run, going, attributor, closure=closure)


def _begin(run: Recording, going: StepInProgress, outer: Sequence[StepInProgress]) -> Splits:
    """The step is going to be split: by whom."""
    going.recorded = True
    for wrapper in outer:
        # An optimizer that wraps another: the inner one takes the step, and counts.
        wrapper.wraps = True
        run.steppers.drop(wrapper.optimizer)
    attributor = run.steppers.begin(going.optimizer)
    if isinstance(attributor, Attributor) and attributor.has_momentum:
        run.remembers(attributor.carry)
    return attributor


def _keep(run: Recording, going: StepInProgress, attributor: Splits, *, closure: bool) -> None:
    """Keep what the parameters are fed, and where they are."""
    optimizer, ask = going.optimizer, closure or run.hooks.in_backward
    run.copies.fill(going.parameters)
    if not closure:
        going.fed = ClosureRun(run.ledger, run.ledger.read(going.parameters, _grad_scale(optimizer), ask=ask))
    fed_now = {} if going.fed is None else going.fed.totals
    rows = {p: run.ledger.rows(p, fed_now[p]) for p in going.parameters if p in run.by_rows and p in fed_now}
    run.step.rows |= rows
    run.theta.before_step(going.parameters, rows, ask=ask)
    if not run.splits_steps:
        return
    if isinstance(attributor, Attributor):
        sampled = {p: run.sampled[p] for p in going.parameters if p in run.sampled}
        if not all(map(attributor.can_be_sampled, sampled)):
            run.step.spoiled = f"--light: steps of {type(optimizer).__name__} cannot be split at some coordinates alone"
            run.steppers.missed(optimizer)
            return
        attributor.before_step(going.parameters, run.theta.now(going.parameters), rows, sampled)
    else:
        attributor.before_step(going.parameters, run.theta.now(going.parameters))


def _in_pieces(run: Recording, optimizer: Optimizer) -> str | None:
    """Why the step of an optimizer cannot be split by what each process has of the parameters; None: it can."""
    if not run.table.in_pieces:
        return None
    if known_class(optimizer) not in _BY_ENTRY or run.options.attribution != "additive":
        return f"steps of {type(optimizer).__name__} on pieces of the parameters, as of a sharded model, are not split"
    return STEPS_WITHIN if run.hooks.in_backward else None


def _rests(run: Recording, going: StepInProgress, outer: Sequence[StepInProgress], *, closure: bool) -> None:
    """Know the optimizer at its next step between bursts, where this one is an ordinary one."""
    if closure or not going.parameters or run.records or run.hooks.in_backward:
        return
    if run.steppers.get(going.optimizer) is None or run.beside(going.parameters):
        return
    if not outer:
        run.resting.add(going.optimizer, going.parameters)
    elif len(outer) == 1 and outer[0].taken_by is going.optimizer:
        run.resting.add(outer[0].optimizer, going.parameters, by=going.optimizer)


def _replaced(run: Recording, held: Iterable[Tensor]) -> str | None:
    reason = follow(run, held)
    if reason is not None and run.books.remark(reason):
        run.say(f"step {run.step.number} is not recorded: {reason}")
    return reason


def _strangers(run: Recording, optimizer: Optimizer, held: Iterable[Tensor]) -> None:
    """Say once of which parameters nothing is recorded."""
    trained = [p for p in held if p.requires_grad]
    if (count := sum(p.is_complex() for p in trained)) and run.books.remark(
        text := f"{count} parameter tensors are complex: nothing is recorded of them"
    ):
        run.say(text)
    if not run.sink.laid_out or run.fixed:
        return
    others = sum(not run.sink.holds(p) and p in run.table.named for p in trained if not p.is_complex())
    unknown = sum(p not in run.table.named for p in trained)
    if others + unknown and run.options.params == "*":
        text = (
            f"{others + unknown} parameter tensors that {type(optimizer).__name__} got after the run was laid out "
            "are not recorded"
        )
        if run.books.remark(text):
            run.say(f"at step {run.step.number}: {text}")


def evaluated(run: Recording, going: StepInProgress, result: Any) -> None:
    """The closure of a step returned this: these may be the gradients that the step is made of."""
    if not going.recorded or going.wraps:
        return
    again = going.first is not None
    if again and not run.looks_again(going):
        return
    here = ClosureRun(run.ledger.copy(), run.ledger.read(going.parameters, _grad_scale(going.optimizer)))
    attributor = run.adds_up(going)
    if attributor is not None:
        loss = result.detach() if isinstance(result, Tensor) else result
        attributor.evaluated(float(loss), fed(here.books, here.totals).splits)
        if again:
            return
    going.first = going.first or here
    going.last = here
    if again:
        going.theta = {p: p.detach().clone() for p in going.parameters}


def after_step(run: Recording, going: StepInProgress) -> None:
    """Split the step that was taken."""
    if not going.recorded or going.wraps:
        _stepped(run, going)
        if going.recorded:
            _left_over(run, going)
        return
    with answers.asking(going.parameters):
        answers.ask(_asked_after(run, going))
        if going.fed is not None and any(map(answers.waits, going.parameters)):
            changed = run.ledger.changes
            run.ledger.left_alone(going.fed.totals)
            if run.ledger.changes and not changed:
                answers.ask(asked(going.fed.books, going.fed.totals))
        _after_step(run, going)
        run.theta.settle(going.parameters)


def _asked_after(run: Recording, going: StepInProgress) -> Iterator[answers.Asked]:
    yield from run.theta.asked(going.parameters, stepped=True)
    yield from run.ledger.asked(going.parameters)
    if going.fed is not None:
        yield from asked(going.fed.books, going.fed.totals)
    attributor = run.steppers.get(going.optimizer)
    if isinstance(attributor, Attributor):
        yield from attributor.asked()


def _after_step(run: Recording, going: StepInProgress) -> None:
    optimizer = going.optimizer
    moved = run.theta.after_step(going.parameters)
    if not moved and going.first is None and _manipulated(run, going):
        # It moves nothing and writes into .grad: what it makes is for another optimizer's step.
        run.steppers.drop(optimizer)
        return
    _stepped(run, going)
    used = _used(going, run.ledger)
    attributor = run.steppers.get(optimizer)
    if attributor is None or not used.totals:
        return
    beside = run.beside(going.parameters)
    if beside and not used.books.passes:
        return
    if run.step.spoiled is None and not used.books.passes and not used.books:
        run.step.spoiled = without_pass(run.step)
    if run.step.spoiled is not None:
        return
    _split(run, optimizer, attributor, used, beside=beside)


def _split(run: Recording, optimizer: Optimizer, attributor: Splits, used: ClosureRun, *, beside: bool) -> None:
    """Split the step into tasks, by what the optimizer was fed, and add it to the row."""
    run.steppers.recorded(optimizer)
    found = fed(used.books, used.totals, run.sink.tasks)
    if beside:
        for known in found.splits.values():
            # What trains the loss weights, say: nobody misses a task there.
            known.unexplained = None
        if not run.sink.laid_out and _of_method(run, found):
            # A temperature or the like: no run begins with it.
            return
    run.feed(found)
    announce_once(run)
    if run.prepares:
        if run.splits_steps:
            attributor.follow(found.splits)
        _fed(run, attributor, found)
        return
    rates = learning_rates(optimizer)
    row = row_of(run, found)
    run.left_out.fed(found)
    if not attributor.additive and not row.solo:
        # It came when the run was laid out for steps that are linear: there is no place for solo updates.
        text = f"steps of {type(optimizer).__name__} are not split: {attributor.note}"
        if run.books.remark(text):
            run.say(f"from step {run.step.number} on, {text}")
    if run.splits_steps:
        _enter(row, attributor, found, rates, used)
    _fed(run, attributor, found)
    _of_nobody(run, optimizer, found)


def _fed(run: Recording, attributor: Splits, found: Fed) -> None:
    """The gradients have been used."""
    run.ledger.moved(found.parts)
    run.ledger.stepped([*found.totals, *run.copies.stepped(found.totals)])
    run.step.sparse.update(p for p in found.totals if _moves_rows(attributor, p) and run.may_keep_rows(p))


def _moves_rows(attributor: Splits, parameter: Tensor) -> bool:
    """Whether a step moves only the rows of this parameter that its gradient holds."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse or gradient.sparse_dim() != 1:
        return False
    return isinstance(attributor, Attributor) and attributor.moves_rows(parameter)


def _enter(row: StepRow, attributor: Splits, found: Fed, rates: Mapping[Tensor, float], used: ClosureRun) -> None:
    """Put the parts of the step of each parameter into the row."""
    if isinstance(attributor, Attributor):
        for packed in attributor.packed(found.splits, found.totals.keys() & row.parameters):
            row.add_packed(packed, rates)
    for p, split in attributor.splits(found.splits, in_tiles=True):
        if p not in found.totals or not row.holds(p):
            continue
        if split.whole is not None:
            _add_sampled(row, p, float(rates[p]), found, split, used)
        else:
            row.add(p, float(rates[p]), found.totals[p], found.splits.get(p, GradientSplit({})), split)
    if attributor.step_skipped:
        row.skip()


def _add_sampled(row: StepRow, p: Tensor, rate: float, found: Fed, split: StepSplit, used: ClosureRun) -> None:
    """The same of one parameter of which the parts are those of the kept coordinates."""
    gradient, products = found.splits[p], used.books.products(p)
    gram = None if products is None else products.of(gradient.tasks)
    row.add_sampled(p, rate, used.totals[p], gradient, split, gram)


def _left_over(run: Recording, going: StepInProgress) -> None:
    """What an optimizer is fed and the ones within it do not step: another process does, say; that moves it outside."""
    row, stepped = run.step.row, {p for one in run.step.fed for p in one.totals}
    if row is None or run.step.spoiled is not None:
        return
    used = going.fed or ClosureRun(run.ledger, run.ledger.read(going.parameters, _grad_scale(going.optimizer)))
    totals = {p: total for p, total in used.totals.items() if p not in stepped and row.holds(p)}
    if not totals:
        return
    found = fed(used.books, totals, run.sink.tasks)
    run.feed(found)
    row = row_of(run, found)
    if run.splits_steps:
        rates = learning_rates(going.optimizer)
        for p, total in totals.items():
            still = StepSplit(torch.zeros_like(found.totals[p]), closure=0.0)
            if p in run.sampled:
                still.whole = p.detach()
                _add_sampled(row, p, float(rates[p]), found, still, used)
                continue
            row.add(p, float(rates[p]), total, found.splits.get(p, GradientSplit({})), still)
    run.ledger.moved(found.parts)
    run.ledger.stepped(totals)


def _of_method(run: Recording, found: Fed) -> bool:
    """Whether what was fed comes of losses that reach no parameter of a model."""
    parts = {part for each in found.parts.values() for part in each}
    return not any(run.table.owned(p) for p, reached in run.ledger.reached.items() if reached & parts)


def _of_nobody(run: Recording, optimizer: Optimizer, found: Fed) -> None:
    """Say once that an optimizer steps a good part of the parameters by gradients of which nothing is known."""
    mine = sum(p.numel() for p in found.totals)
    if found.tasks or 10 * mine < sum(p.numel() for p in run.table.named):
        return
    text = f"{type(optimizer).__name__} steps {len(found.totals)} parameter tensors by gradients of no loss seen"
    if found.separate:
        text = (
            f"{', '.join(found.separate)}: no task, since it trains a model of its own, which "
            f"{type(optimizer).__name__} steps, and no parameter of the other tasks"
        )
    if run.books.remark(text):
        run.say(text)


def _stepped(run: Recording, going: StepInProgress) -> None:
    run.step.passes = 0
    if not run.beside(going.parameters):
        run.step.stepped.add(id(going.optimizer))
    run.step.moved.update(going.parameters)


def _manipulated(run: Recording, going: StepInProgress) -> bool:
    before = {} if going.fed is None else going.fed.totals
    now = run.ledger.read(going.parameters)
    return now.keys() != before.keys() or not all(unmoved(now[p], before[p]) for p in now)


def step_parts(run: Recording, optimizer: Optimizer, task: str, parts: Mapping[Tensor, Tensor]) -> None:
    """One task's part of the step that an optimizer is taking."""
    attributor = run.steppers.get(optimizer)
    if isinstance(attributor, AnnouncedAttributor):
        attributor.take(task, parts)


def _used(going: StepInProgress, books: Ledger) -> ClosureRun:
    """The gradients that the step was made of.

    Of several evaluations of a closure it is the last, from which the step went on (SAM: the gradient at the disturbed
    weights); where the step ends at the weights of the last one, that one only confirmed it (a line search), and the
    first gave the direction.
    """
    if going.first is None or going.last is None:
        if going.fed is not None and not going.passes:
            return going.fed
        return going.fed if going.fed is not None and books.given else ClosureRun(books, books.read(going.parameters))
    stays = bool(going.theta) and all(torch.equal(p, going.theta[p]) for p in going.parameters)
    return going.first if stays else going.last


def _grad_scale(optimizer: Optimizer) -> float:
    """What GradScaler leaves for a fused optimizer to take out of the gradients."""
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)
