"""A call of autograd.grad by the script: perhaps it takes the gradients itself that a step is made of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from torch import Tensor

from dominance.record import at_manual_step
from dominance.record.recording import Recording
from dominance.record.split.gradients import gradients_of
from dominance.record.split.passes import pass_of
from dominance.record.step import StepInProgress
from dominance.record.tasks.finder import Found, Root, Unnamed
from dominance.record.tasks.installed import is_installed
from dominance.record.tasks.labels import entry_of
from dominance.record.tasks.naming import Names, caller_frames, names_around
from dominance.record.tasks.picked import may_be_losses
from dominance.record.tasks.roots import reached_by


def begin_grad(
    run: Recording, inside: StepInProgress | None, starts: Sequence[Sequence[Root]], inputs: Sequence[Tensor]
) -> bool:
    """The script is about to take gradients; whether they may be of training, and are to be looked at.

    Args:
        inside: the optimizer's step that it is in.
        starts: of each gradient, what it is taken of.
        inputs: the tensors that they are taken by.
    """
    leaf = [tensor for tensor in inputs if tensor.is_leaf]
    first = next((roots for roots in starts if roots), None)
    if first is None:
        return False
    # By what lies between the losses and the parameters: the script may go on from there.
    between = len(leaf) < len(inputs) and may_be_losses(first)
    ours = between or any(p in run.table.named for p in leaf)
    if not between and run.beside(leaf):
        return False
    if not ours and (run.sink.laid_out or run.fixed):
        return False
    if inside is None:
        at_manual_step.finish(run)
    if not run.records:
        at_manual_step.begin(run, tuple)
        return False
    run.know(lambda: reached_by(first) if between else leaf)
    if not between and (run.beside(leaf) or not any(p in run.table.named for p in leaf)):
        return False
    run.step.passes += 1
    run.ledger.look()
    run.begin_theta()
    return True


def take(
    run: Recording, roots: Sequence[Root], inputs: Sequence[Tensor]
) -> Callable[[Sequence[Tensor | None]], None] | None:
    """The script takes gradients with autograd.grad; what is returned is called with them."""
    with run.hooks.own_pass(run.table.modules, run.table.named):
        found = _found_by_grad(run, roots, inputs)
        if found is None or not found.tasks:
            return None
        if len(found.tasks) > 1:
            taken = gradients_of(found.tasks, [p for p in inputs if p.requires_grad and p in run.table.named])
            between = [tensor for tensor in inputs if not tensor.is_leaf]
            if between:
                run.step.cut.keep_all(found, gradients_of(found.tasks, between))
            return lambda result: run.ledger.take(pass_of(found, taken))
    return functools.partial(_took, run, found, list(inputs))


def _found_by_grad(run: Recording, roots: Sequence[Root], inputs: Sequence[Tensor]) -> Found | None:
    if not roots:
        return None
    if run.step.cut.starts(roots) and (found := run.step.cut.found(roots)) is not None:
        return found
    between = any(not tensor.is_leaf for tensor in inputs)
    if (between or len(roots) > 1) and not may_be_losses(roots):
        return None
    run.finder.expand, expand = False, run.finder.expand
    reached = run.table.ids() if between else {id(p) for p in inputs}
    try:
        return run.finder.find(list(roots), _names_of(roots), reached, run.observed, taken=True)
    except Unnamed:
        # Whether the step is made of it shows when the optimizer is fed; then it is unexplained.
        return None
    finally:
        run.finder.expand = expand


def _took(run: Recording, found: Found, inputs: Sequence[Tensor], result: Sequence[Tensor | None]) -> None:
    kept = {p: g.detach().clone() for p, g in zip(inputs, result, strict=True) if g is not None}
    name = found.tasks[0].name
    run.step.cut.keep_all(found, {name: {tensor: g for tensor, g in kept.items() if not tensor.is_leaf}})
    kept = {p: g for p, g in kept.items() if p in run.table.named}
    if kept:
        run.ledger.take(pass_of(found, {name: kept}))


def _names_of(roots: Sequence[Root]) -> Names:
    """The names around a call of autograd.grad: the script's own, where it calls what is differentiated by one.

    A library that takes the gradients on its behalf has its own words for losses, and one word for all of them.
    """
    frames = caller_frames()
    own = names_around([frame for frame in frames if not is_installed(frame.f_code.co_filename)])
    if all(own.is_known(root.edge) or entry_of(root.edge, own.vectors) for root in roots):
        return own
    return names_around(frames)
