"""What to try: one sentence for each remedy, with the command or the line of code that this run would need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.remedies import (
    ADATASK,
    alike,
    is_script,
    measured_weight,
    names_of,
    optimizer_of,
    tried,
    try_command,
    weights_method,
)
from dominance.analyse.verdict.words import listed
from dominance.train_command import NOT_FLAGS, command

_IMPORT = "`from dominance import optim`"
_ARGUMENTS = ("lr", "betas", "weight_decay")


def against_dominance(run: xr.DataTree, owner: str, causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try when one task owns what it should share."""
    said = []
    if is_script(run):
        return tried(run, owner, causes)
    numbers = {cause.name: cause for cause in causes}
    if "weight" in numbers:
        said.append(_reweigh(numbers["weight"]) or f"Lower the weight of {owner}'s loss, or raise the others'.")
    if "frequency" in numbers:
        said.append(f"Let the others take part as often as {owner}: sample their examples more often, or step for each")
        said[-1] += " task in turn."
    if "noise" in numbers:
        said.append(f"Give {owner} a larger batch, or a loss in which outliers weigh less.")
    return (*said, *([] if "frequency" in numbers else [balanced(run)]))


def for_unheard(run: xr.DataTree, task: str, causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try when one task is hardly heard."""
    said = []
    if is_script(run):
        return tried(run, task, causes, quiet=True)
    numbers = {cause.name: cause for cause in causes}
    if "weight" in numbers:
        said.append(_reweigh(numbers["weight"]) or f"Raise the weight of {task}'s loss.")
    if "frequency" in numbers:
        said.append(f"Sample the examples of {task} more often, or step for each task in turn.")
    return (*said, *([] if "frequency" in numbers else [balanced(run)]))


def for_group(run: xr.DataTree, names: Sequence[str], causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try, or not, for groups of examples that are hardly heard, or noisy."""
    who, formulas = (
        listed(list(names)),
        f"`dominance mixture {run.attrs.get('path', 'RUN')}` has published formulas' weights",
    )
    first = causes[0].name if causes else ""
    if first == "learned":
        return (f"Leave it alone: what {who} has to teach is learned.",)
    if first == "noise":
        return (f"Look at some examples of {who}: more of them teach little, and fewer cost little; {formulas}.",)
    said = [f"Sample {who} more often, or give the examples a larger weight in the loss: {formulas}"]
    weight = measured_weight({cause.name: cause for cause in causes})
    named = names_of(run)
    if is_script(run) and weight > 1 and not any(set(name) & set(",:=") for name in named):
        each = weights_method({name: weight if name in names else 1 for name in named})
        said.append(f"Such a weight, beside the run as it is: `{try_command(run, [each])}`")
    return tuple(said)


def _reweigh(cause: Cause) -> str:
    moved = alike(cause)
    return f"Weigh the losses alike: {moved}." if moved else ""


def balanced(run: xr.DataTree) -> str:
    """A method that gives every task its own scale, for the run's optimizer; another one where that is in use."""
    optimizer, group = optimizer_of(run)
    if optimizer in ADATASK:
        why = "AdaTask, which keeps an accumulator of squared gradients for each task"
        training = run.attrs.get("training")
        if isinstance(training, Mapping):
            return f"{why}: `{_trained(run, training, 'adatask')}`"
        given = {name: group[name] for name in _ARGUMENTS if group.get(name)}
        decoupled = ", decoupled_weight_decay=True" if optimizer == "AdamW" and "weight_decay" in given else ""
        written = ", ".join(f"{name}={_literal(value)}" for name, value in given.items())
        line = f"optimizer = optim.{ADATASK[optimizer]}(model.parameters(), {written}{decoupled})"
        return f"{why}: {_IMPORT}, `{line}`, then `optimizer.backward(losses)` and `optimizer.step()`"
    # Of an optimizer that divides by no length CAGrad helped where IMTL-G did not.
    name, method, what = ("CAGrad", "cagrad", "looks for a step that serves the worst-off task")
    if optimizer.startswith("AdaTask"):
        name, method, what = ("IMTLG", "imtl-g", "gives all tasks the same say in the step")
    training = run.attrs.get("training")
    if isinstance(training, Mapping):
        code = f"`{_trained(run, training, method)}`"
    else:
        code = f"{_IMPORT} and `combiner = optim.{name}()` before the loop, and"
        code += " `combiner.backward(losses, model.parameters())` in the place of `loss.backward()`"
    return f"{'IMTL-G' if name == 'IMTLG' else name}, which {what}: {code}"


def alone(run: xr.DataTree) -> str:
    """How to train every task alone, as what the run is compared with: a comparison needs them all."""
    training = run.attrs.get("training")
    if isinstance(training, Mapping):
        return f"`{_trained(run, training, 'stl')}`"
    if is_script(run):
        return f"`{try_command(run, [], '--alone')}`"
    # It has a Recorder: what was typed may be a notebook's kernel.
    return "your own loop with the loss of one task alone, a run for each, logging the same metrics"


def _trained(run: xr.DataTree, training: Mapping[str, Any], method: str) -> str:
    """The command of a training with another method, with the options that were typed; all, where that is not known."""
    typed = {str(word).partition("=")[0] for word in run.attrs.get("argv") or []}
    known = "train" in typed and "--resume" not in typed
    kept = {
        name: value
        for name, value in training.items()
        if not known or name in NOT_FLAGS or f"--{name.replace('_', '-')}" in typed
    }
    return command({**kept, "method": method, "options": {}, "representation": False})


def _literal(value: Any) -> str:
    return f"({', '.join(f'{part:g}' for part in value)})" if isinstance(value, list | tuple) else f"{value:g}"
