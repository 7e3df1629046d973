"""A backward() of the script: its tasks are found, their gradients taken, and entered in the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from dominance.record import answers, at_manual_step, light
from dominance.record.end_of_step import skipped
from dominance.record.gradient_by_difference import is_plain
from dominance.record.guest.hooks import LeafCapture
from dominance.record.guest.limits import CannotLook
from dominance.record.recording import Recording
from dominance.record.split import side_by_side
from dominance.record.split.gradients import gradients_of
from dominance.record.split.in_passing import RowsCapture
from dominance.record.split.passes import Pass, pass_of
from dominance.record.split.remainders import Remainder
from dominance.record.split.sampled import sample_all
from dominance.record.step import ClosureRun, OpenPass, StepInProgress
from dominance.record.tasks.factors import constant_within
from dominance.record.tasks.finder import Found, FoundTask, Root, Unnamed
from dominance.record.tasks.graph import Edge
from dominance.record.tasks.grouped import GroupedTensor
from dominance.record.tasks.naming import Names, caller_frames, names_around
from dominance.record.tasks.roots import reached_by
from dominance.record.tasks.weights import exact_weights

UNNAMED = "a loss of a new structure has no names until a forward has kept its source lines"
STEPS_WITHIN = "an optimizer steps inside the backward() that averages the gradients over the processes"
IN_PASSING = "the groups' gradients could not be taken from the script's own backward()"
NO_MIXTURE = "a backward() starts from a gradient that is no mixture of the tasks' gradients taken there before"


def begin(run: Recording, inside: StepInProgress | None) -> bool:
    """A pass of the script begins, perhaps inside an optimizer's step; whether it is to be looked at."""
    with answers.asking(chain(run.ledger.accounts, run.theta.start)):
        answers.ask(chain(run.theta.asked_outside() if run.step.over else (), run.ledger.asked()))
        return _begin(run, inside)


def _begin(run: Recording, inside: StepInProgress | None) -> bool:
    run.step.open = None  # of a backward() that ended in an exception
    if inside is None:
        at_manual_step.finish(run)
    run.step.passes += 1
    if inside is not None:
        inside.passes += 1
    if not run.records:
        at_manual_step.begin(run, tuple)
        return False
    light.begin(run)
    if inside is not None and inside.last is not None:
        if not run.looks_again(inside):
            return False
        run.ledger.drop_held()
    if run.ledger.look() and inside is None and not run.step.over and run.sharing is None:
        skipped(run)
    return run.records


def open_pass(
    run: Recording,
    roots: list[Root],
    inputs: Sequence[Tensor] | None,
    reached: Callable[[], Sequence[Tensor]] | None = None,
) -> None:
    """Find the tasks of a backward() and take their gradients; or capture them from the script's own pass.

    Args:
        roots: what it is called on.
        inputs: the only tensors whose ``.grad`` it fills; None for all leaves.
        reached: gives the leaves that it reaches, where the caller knows them.

    Raises:
        Exception: whatever a pass of our own raises.
    """
    with run.hooks.own_pass(run.table.modules, run.table.named):
        found = _find(run, roots)
        if found is None:
            run.step.spoiled = UNNAMED
            return
        edges = _edges(found)
        run.step.open = _opened(run, found, roots, inputs, reached) if found.tasks else None
        if not found.tasks:
            run.step.separate += [name for name in found.separate if name not in run.step.separate]
        run.step.count(found)
        # Only now it is known that what the graph has saved may be looked at.
        _constants(run, edges)
    _remark(run, found)


def look(run: Recording, roots: list[Root]) -> Found | None:
    """What a backward() is made of, where a method is about to take its place: None where its tasks have no names.

    Raises:
        Exception: whatever a pass of our own raises.
    """
    with run.hooks.own_pass(run.table.modules, run.table.named):
        found = _find(run, roots)
        if found is not None:
            _constants(run, _edges(found))
    if found is not None:
        _remark(run, found)
    return found


def _find(run: Recording, roots: list[Root]) -> Found | None:
    frames = caller_frames()
    names = names_around(frames)
    run.announcement.loss_scale = names.loss_scale
    try:
        found = _found_below(run, roots)
        if found is None:
            places = _places(run, roots, names)
            found = run.finder.find(roots, names, run.table.ids(), run.observed, places)
    except Unnamed:
        return None
    _call_anew(run)
    if len(roots) == 1 and roots[0].tensor is not None:
        run.unrecorded_losses.learn(roots[0].tensor, found, frames)
    found.total /= names.loss_scale
    return found


def _places(run: Recording, roots: Sequence[Root], names: Names) -> list[GroupedTensor]:
    """Where the groups of the examples are told apart, where they are asked for.

    Raises:
        CannotLook: they cannot be, and could before: one loss more would be a task beside them.
    """
    if run.batches is None:
        return []
    split, found = run.batches.split, run.batches.before(roots, run.table.ids(), names.variables.get(roots[0].edge))
    if isinstance(found, str):
        if split is not None:
            raise CannotLook(found)
        return []
    if split is None:
        run.sink.know(groups=run.batches.split)
    return found


def _remark(run: Recording, found: Found) -> None:
    """What is to be said of a pass; not within a pass of ours, where nothing is heard."""
    run.announcement.residual += [name for name in found.residual if name not in run.announcement.residual]
    run.announcement.separate += [name for name in found.separate if name not in run.announcement.separate]
    run.announcement.columns = None if found.columns is None else (found.columns, run.table.linear(found.below_columns))
    for text in found.words:
        if run.books.remark(text):
            run.say(text)


def _edges(found: Found) -> dict[str, Edge]:
    """Where each task's loss is in the graph, of those that are one."""
    return {} if found.by_shares else {each.name: each.edges[0] for each in found.tasks if len(each.edges) == 1}


def _constants(run: Recording, edges: Mapping[str, Edge]) -> None:
    """What of the script's own weights lies within the losses that it has names for."""
    known = dict(run.announcement.constants)
    for name, edge in edges.items():
        within = constant_within(edge)
        if not math.isclose(known.setdefault(name, within), within, rel_tol=1e-3):
            known[name] = 1.0
    before, after = ({n: each for n, each in held.items() if each != 1} for held in (run.announcement.constants, known))
    run.announcement.constants = known
    if before != after:
        run.sink.know(loss_constants=after)


def _call_anew(run: Recording) -> None:
    """Take better names for tasks that later losses of their first step have given; a run that has one keeps it."""
    first = {made.root for made in run.ledger.passes.values()} - set(run.sink.tasks)
    run.ledger.called |= {old: new for old, new in run.finder.called.items() if old in first}


def _opened(
    run: Recording,
    found: Found,
    roots: Sequence[Root],
    inputs: Sequence[Tensor] | None,
    reached: Callable[[], Sequence[Tensor]] | None,
) -> OpenPass:
    filled = None if inputs is None else {id(tensor) for tensor in inputs}
    trainable = [p for p in run.table.trainable() if filled is None or id(p) in filled]
    between = _between(run, reached or (lambda: reached_by(roots)), filled)
    if len(found.tasks) == 1 and not found.residual and not found.separate and not run.observed:
        capture = LeafCapture([*trainable, *between], run.ledger.as_kept)
        return OpenPass(found, {found.tasks[0].name: capture.gradients}, {}, capture)
    if (passing := _in_passing(run, found, roots, [*trainable, *between])) is not None:
        return OpenPass(found, {task.name: {} for task in found.tasks}, {}, passing)
    possible = filled is None and not between and _plain(run, found, trainable)
    left_out = run.left_out.begin(found, possible=possible, prepares=run.prepares)
    rest = None if left_out is None else Remainder(*left_out)
    tasks = [task for task in found.tasks if rest is None or task.name != rest.task]
    wanted = [*trainable, *between]
    light = _side_by_side(run, found, tasks, wanted)
    if light is not None:
        taken = light[0]
    else:
        taken = gradients_of(tasks, wanted, run.apart if found.by_shares else None, run.ledger.as_kept)
    if rest is None:
        run.left_out.has(taken)
    else:
        taken[rest.task] = {}
    opened = OpenPass(found, taken, gradients_of(found.beside, trainable, as_kept=run.ledger.as_kept), None, rest)
    if light is not None:
        opened.products = light[1]
    else:
        opened.products = sample_all(opened.taken, run.sampled, run.apart.grams if found.by_shares else {})
    for task in (*found.tasks, *found.beside):
        task.edges.clear()  # nodes: they would keep the graph alive until the step
    return opened


def _side_by_side(
    run: Recording, found: Found, tasks: Sequence[FoundTask], wanted: Sequence[Tensor]
) -> side_by_side.Found | None:
    """The tasks' gradients, where those of large parameters need not be there of all at once."""
    if not run.sampled or found.by_shares or run.hooks.alters or run.table.in_pieces or len(tasks) < 2:
        return None
    return side_by_side.sampled_side_by_side(tasks, wanted, run.sampled, run.ledger.as_kept)


def _plain(run: Recording, found: Found, trainable: Sequence[Tensor]) -> bool:
    """Whether ``.grad`` will hold what comes of this backward() alone, which is made of its tasks and nothing else."""
    if run.step.passes != 1 or run.observed or run.sampled or run.by_rows or run.table.in_pieces:
        return False
    if run.hooks.alters or run.hooks.kept_quiet or not math.isfinite(found.total):
        return False
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return False  # the gradients are averaged on their way, or after it
    return all(map(is_plain, trainable)) and all(map(run.ledger.cleared, trainable))


def _in_passing(
    run: Recording, found: Found, roots: Sequence[Root], parameters: Sequence[Tensor]
) -> RowsCapture | None:
    """The groups' gradients from the script's own pass, where nothing but groups is in it."""
    others = found.beside or found.residual or found.separate
    if (
        not run.sampled
        or not run.apart.in_passing
        or not found.by_shares
        or others
        or torch._C._len_torch_dispatch_stack()
    ):
        return None
    edges = list(dict.fromkeys(edge for task in found.tasks for edge in task.edges))
    if len(edges) != 1 or len({task.name for task in found.tasks}) < len(found.tasks):
        return None
    capture = run.apart.capture(found.tasks, parameters, exact_weights(roots, edges)[0])
    if capture is not None:
        for task in found.tasks:
            task.edges.clear()
    return capture


def _passed(run: Recording, opened: OpenPass, capture: RowsCapture) -> None:
    """Take in what a capture has of the pass so far."""
    taken = capture.taken
    if taken.error is None:
        taken.finish()
    else:
        run.apart.in_passing = False
        cannot_look(run, f"{IN_PASSING} ({type(taken.error).__name__}: {taken.error})")
    for p, each in taken.gradients.items():
        for task, gradient in zip(opened.found.tasks, each, strict=True):
            opened.taken[task.name][p] = gradient
    opened.products = sample_all(opened.taken, run.sampled, taken.grams)


def _found_below(run: Recording, roots: Sequence[Root]) -> Found | None:
    """The tasks of a pass that goes on from gradients which the script has taken before.

    Raises:
        CannotLook: it starts where these were taken, and from something else.
    """
    if not run.step.cut.starts(roots):
        return None
    found = run.step.cut.found(roots)
    if found is None:
        raise CannotLook(NO_MIXTURE)
    return found


def _between(run: Recording, reached: Callable[[], Sequence[Tensor]], filled: set[int] | None) -> list[Tensor]:
    """Detached copies of what lies between the losses and the parameters, whose ``.grad`` the pass fills."""
    return [
        tensor
        for tensor in (() if run.observed else reached())
        if tensor not in run.table.named and tensor.requires_grad and not isinstance(tensor, nn.Parameter)
        if tensor.dim() > 1 and (filled is None or id(tensor) in filled)
    ]


def cannot_look(run: Recording, reason: str, *, elsewhere: bool = False) -> None:
    """A pass of ours might change the training: none is made, and the step cannot become a row.

    Args:
        run: the recording.
        reason: why, as it follows "not recorded: ".
        elsewhere: it is another process of the training whose pass could not be looked at.
    """
    first = not run.books.unrecorded and (elsewhere or run.step.spoiled is None)
    run.step.spoiled = reason
    if first:
        run.say(f"step {run.step.number} is not recorded: {reason}")


def close_pass(run: Recording) -> None:
    """The backward() is over: enter it in the ledger."""
    if run.step.open is not None:
        if run.step.open.capture is not None:
            run.step.open.capture.remove()
        enter_open(run, [p for p in run.table.named if p not in run.step.open.entered])
        run.step.open = None


def close_averaged(run: Recording, average: Callable[[Pass | None], Pass | None], *, hooked: bool) -> None:
    """The same of a backward() that has averaged the gradients over several processes.

    Args:
        run: the recording of this process.
        average: the pass over the means of the losses, from the one that this process has made, if it has made one.
        hooked: the averaging is done by a hook of the script, which may do more than that.
    """
    opened, run.step.open = run.step.open, None
    made = None
    if opened is not None:
        if opened.capture is not None:
            opened.capture.remove()
        if opened.entered:
            run.step.spoiled = STEPS_WITHIN
        made = _pass(run, opened)
    spoiled = run.step.spoiled
    whole = average(made)
    if run.step.spoiled is not None and spoiled is None:
        cannot_look(run, run.step.spoiled, elsewhere=True)
    if whole is not None:
        hooked = hooked or (opened is not None and opened.capture is None and run.hooks.kept_quiet > 0)
        run.ledger.enter(whole, run.table.named, hooked=hooked, averaged=True)


def enter_open(run: Recording, parameters: Iterable[Tensor]) -> None:
    """Enter what the backward() that is going on gives these parameters; it may be over, or not."""
    opened = run.step.open
    if opened is None:
        return
    parameters = list(parameters)
    if opened.rest is not None:
        opened.rest.take(parameters, opened.taken)
    made = _pass(run, opened)
    hooked = opened.capture is None and run.hooks.kept_quiet > 0
    run.ledger.enter(made, parameters, more=bool(opened.entered), hooked=hooked)
    opened.entered.update(parameters)


def _pass(run: Recording, opened: OpenPass) -> Pass:
    """What it gives the parameters; what lies between them and the losses is kept for passes that go on from there."""
    for held in opened.taken.values():
        strange = {tensor: held.pop(tensor) for tensor in list(held) if tensor not in run.table.named}
        run.step.cut.keep_all(opened.found, {name: strange for name, g in opened.taken.items() if g is held})
    if isinstance(opened.capture, RowsCapture):
        _passed(run, opened, opened.capture)
    elif opened.capture is not None:
        opened.products |= sample_all(opened.taken, run.sampled, {})
    closed = () if opened.rest is None else opened.rest.closed
    return pass_of(opened.found, opened.taken, opened.beside, opened.products, closed)


def expects(run: Recording, reached: Sequence[Tensor], inside: StepInProgress | None) -> bool:
    """Whether task gradients that somebody tells, by these leaf tensors, are to be recorded."""
    if inside is None:
        at_manual_step.finish(run)
    if not run.records:
        return False
    if not run.sink.laid_out:
        run.know(lambda: reached)
    run.begin_theta()
    return any(p in run.table.named for p in reached)


def enter(run: Recording, made: Pass, inside: StepInProgress | None) -> None:
    """Take in task gradients whose sum has just been added to ``.grad``, or that a step is given directly."""
    run.step.passes += 1
    if inside is None:
        run.ledger.look_after(made)
        run.ledger.enter(made, run.table.named)
    else:
        run.ledger.feed(made)
        inside.fed = ClosureRun(run.ledger, run.ledger.read(inside.parameters))
