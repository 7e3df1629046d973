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
    if _is_script(run):
        return (tried(run, owner, causes),)
    numbers = {cause.name: cause.evidence for cause in causes}
    if numbers.get("scale", {}).get("weight_ratio", 1.0) >= 2:
        said.append(f"Lower the weight of {owner}'s loss, or raise the others'.")
    if "frequency" in numbers:
        said.append(f"Let the others take part as often as {owner}: sample their examples more often, or step for each")
        said[-1] += " task in turn."
    if "noise" in numbers:
        said.append(f"Give {owner} a larger batch, or a loss in which outliers weigh less.")
    return (*said, *([] if "frequency" in numbers else [balanced(run)]))


def for_unheard(run: xr.DataTree, task: str, causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try when one task is hardly heard."""
    said = []
    if _is_script(run):
        return (tried(run, task, causes, quiet=True),)
    numbers = {cause.name: cause.evidence for cause in causes}
    if numbers.get("scale", {}).get("weight_ratio", 1.0) >= 2:
        said.append(f"Raise the weight of {task}'s loss.")
    if "frequency" in numbers:
        said.append(f"Sample the examples of {task} more often, or step for each task in turn.")
    return (*said, *([] if "frequency" in numbers else [balanced(run)]))


def tried(run: xr.DataTree, task: str, causes: Sequence[Cause], *, quiet: bool = False) -> str:
    """The command that tries the remedies for these causes on the run's own script, the simplest first.

    A loss weight from what was measured, then a method: AdaTask, or IMTL-G where the optimizer has no such form.
    Neither where a task takes part more seldom than others: there both make it worse, and a weight helps.

    Args:
        quiet: the task is quieter than the others, not louder.
    """
    numbers = {cause.name: cause.evidence for cause in causes}
    methods, words = [], []
    weight = _weight(numbers)
    named = [str(name) for name in run["task"].to_numpy()]
    if weight > 1 and not any(set(name) & set(",:=") for name in named):
        factor = weight if quiet else 1 / weight
        given = ":".join(f"{name}={factor if name == task else 1:.3g}" for name in named)
        methods.append(f"weights:{given}")
        words.append(f"a loss weight from the measured {'steps' if 'frequency' in numbers else 'norms'}")
    if "frequency" not in numbers or not methods:
        adatask = _optimizer(run)[0] in _ADATASK and "frequency" not in numbers
        methods.append("adatask" if adatask else "uw" if "frequency" in numbers else "imtl-g")
        words.append({"adatask": "AdaTask", "uw": "learnt weights (UW)", "imtl-g": "IMTL-G"}[methods[-1]])
    return f"{' and '.join(words)}, beside the run as it is: `{_try(run, methods)}`"


def _weight(numbers: Mapping[str, Mapping[str, float]]) -> float:
    """By how much the louder task's gradient is too long, as far as the causes say."""
    if "frequency" in numbers:
        evidence = numbers["frequency"]
        seldom = evidence.get("present", 1.0) / max(evidence.get("others", 1.0), 1e-12)
        return max(seldom * evidence.get("rows_ratio", 1.0), 1.0)
    if "scale" in numbers:
        return max(numbers["scale"].get("gradient_ratio", 1.0), 1.0)
    return 1.0


def _try(run: xr.DataTree, methods: Sequence[str], *flags: str) -> str:
    told = [str(word) for word in run.attrs.get("record_options") or []]
    given = ["--methods", ",".join(methods)] if methods else []
    return shlex.join(["dominance", "try", *flags, *given, *told, *(str(part) for part in run.attrs["argv"])])


def _is_script(run: xr.DataTree) -> bool:
    """Whether the run is of a script that can be run again as it was."""
    return run.attrs.get("recorded_by") == "dominance record" and bool(run.attrs.get("argv"))


def against_conflict(run: xr.DataTree, tasks: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """What to try when two tasks undo each other."""
    now = str(run.attrs.get("method", ""))
    method = "cagrad" if now == "mocograd" else "mocograd"
    what = "calibrates conflicting gradients" if method == "mocograd" else "looks for a step that serves the worst-off"
    branch = f"Give {listed(list(tasks))} a copy each of {listed(list(layers))}: branch the network there."
    name = {"mocograd": "MoCoGrad", "cagrad": "CAGrad"}[method]
    if _is_script(run):
        first = f"methods for gradients that conflict, beside the run as it is: `{_try(run, ['mocograd', 'cagrad'])}`"
        return first, branch
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
    if _is_script(run):
        return f"`{_try(run, [], '--alone')}`"
    # It has a Recorder: what was typed may be a notebook's kernel.
    return "your own loop with the loss of one task alone, a run for each, logging the same metrics"


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
