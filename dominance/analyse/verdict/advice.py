"""What to try: one sentence for each remedy, with the command or the line of code that this run would need."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from dominance.analyse.optimizers import usual
from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.words import listed
from dominance.command import NOT_FLAGS, command

_ADATASK = {"Adam": "AdaTaskAdam", "AdamW": "AdaTaskAdam", "RMSprop": "AdaTaskRMSprop", "Adagrad": "AdaTaskAdagrad"}
_COMBINERS = {"imtl-g": "IMTLG", "mocograd": "MoCoGrad", "cagrad": "CAGrad"}
_IMPORT = "`from dominance import optim`"
_ARGUMENTS = ("lr", "betas", "weight_decay")


def against_dominance(run: xr.DataTree, owner: str, causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try when one task owns what it should share."""
    said = []
    numbers = {cause.name: cause.evidence for cause in causes}
    if numbers.get("scale", {}).get("weight_ratio", 1.0) >= 2:
        said.append(f"Lower the weight of {owner}'s loss, or raise the others'.")
    if "frequency" in numbers:
        said.append(f"Let the others take part as often as {owner}: sample their examples more often, or step for each")
        said[-1] += " task in turn."
    if "noise" in numbers:
        said.append(f"Give {owner} a larger batch, or a loss in which outliers weigh less.")
    return (*said, balanced(run))


def for_unheard(run: xr.DataTree, task: str, causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try when one task is hardly heard."""
    said = []
    numbers = {cause.name: cause.evidence for cause in causes}
    if numbers.get("scale", {}).get("weight_ratio", 1.0) >= 2:
        said.append(f"Raise the weight of {task}'s loss.")
    if "frequency" in numbers:
        said.append(f"Sample the examples of {task} more often, or step for each task in turn.")
    return (*said, balanced(run))


def against_conflict(run: xr.DataTree, tasks: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """What to try when two tasks undo each other."""
    now = str(run.attrs.get("method", ""))
    method = "cagrad" if now == "mocograd" else "mocograd"
    what = "calibrates conflicting gradients" if method == "mocograd" else "looks for a step that serves the worst-off"
    branch = f"Give {listed(list(tasks))} a copy each of {listed(list(layers))}: branch the network there."
    name = {"mocograd": "MoCoGrad", "cagrad": "CAGrad"}[method]
    return f"{name}, which {what}: {_combiner(run, method)}", branch


def balanced(run: xr.DataTree) -> str:
    """A method that gives every task its own scale, for the run's optimizer; another one where that is in use."""
    optimizer, group = _optimizer(run)
    if optimizer in _ADATASK:
        why = "AdaTask, which keeps an accumulator of squared gradients for each task"
        training = run.attrs.get("training")
        if isinstance(training, Mapping):
            return f"{why}: `{_trained(run, training, 'adatask')}`"
        given = {name: group[name] for name in _ARGUMENTS if group.get(name)}
        decoupled = ", decoupled_weight_decay=True" if optimizer == "AdamW" and "weight_decay" in given else ""
        written = ", ".join(f"{name}={_literal(value)}" for name, value in given.items())
        line = f"optimizer = optim.{_ADATASK[optimizer]}(model.parameters(), {written}{decoupled})"
        return f"{why}: {_IMPORT}, `{line}`, then `optimizer.backward(losses)` and `optimizer.step()`"
    return f"IMTL-G, which gives all tasks the same say in the step: {_combiner(run, 'imtl-g')}"


def alone(run: xr.DataTree) -> str:
    """How to train every task alone, as what the run is compared with: a comparison needs them all."""
    training = run.attrs.get("training")
    if isinstance(training, Mapping):
        return f"`{_trained(run, training, 'stl')}`"
    script = "your own loop"  # it has a Recorder: what was typed may be a notebook's kernel
    if run.attrs.get("recorded_by") == "dominance record":
        script = f"`dominance record {shlex.join(str(part) for part in run.attrs['argv'])}`"
    return f"{script} with the loss of one task alone, a run for each, logging the same metrics"


def _combiner(run: xr.DataTree, method: str) -> str:
    training = run.attrs.get("training")
    if isinstance(training, Mapping):
        return f"`{_trained(run, training, method)}`"
    made = f"{_IMPORT} and `combiner = optim.{_COMBINERS[method]}()` before the loop"
    return f"{made}, and `combiner.backward(losses, model.parameters())` in the place of `loss.backward()`"


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


def _optimizer(run: xr.DataTree) -> tuple[str, Mapping[str, Any]]:
    described = run.attrs.get("optimizers") or [{}]
    groups = described[0].get("groups") or [{}]
    return str(described[0].get("class", "")), usual(groups[0])


def _literal(value: Any) -> str:
    return f"({', '.join(f'{part:g}' for part in value)})" if isinstance(value, list | tuple) else f"{value:g}"
