"""What to try: one sentence for each remedy, with the command or the line of code that this run would need."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from dominance.analyse.optimizers import usual
from dominance.analyse.verdict.causes import Cause, own_weights
from dominance.analyse.verdict.evidence import TRIED
from dominance.analyse.verdict.patch import weighted
from dominance.analyse.verdict.rules import CAUSE
from dominance.analyse.verdict.words import listed
from dominance.train_command import NOT_FLAGS, command

_ADATASK = {"Adam": "AdaTaskAdam", "AdamW": "AdaTaskAdam", "RMSprop": "AdaTaskRMSprop", "Adagrad": "AdaTaskAdagrad"}
_COMBINERS = {"imtl-g": "IMTLG", "mocograd": "MoCoGrad", "cagrad": "CAGrad"}
_WORDS = {"weights": "a loss weight from what was measured", "adatask": "AdaTask", "uw": "learnt weights (UW)"}
_WORDS |= {"imtl-g": "IMTL-G"}
_IMPORT = "`from dominance import optim`"
_ARGUMENTS = ("lr", "betas", "weight_decay")


def against_dominance(run: xr.DataTree, owner: str, causes: Sequence[Cause]) -> tuple[str, ...]:
    """What to try when one task owns what it should share."""
    said = []
    if _is_script(run):
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
    if _is_script(run):
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
    weight = _weight({cause.name: cause for cause in causes})
    named = _names(run)
    if _is_script(run) and weight > 1 and not any(set(name) & set(",:=") for name in named):
        each = ":".join(["weights", *(f"{name}={weight if name in names else 1:.3g}" for name in named)])
        said.append(f"Such a weight, beside the run as it is: `{_try(run, [each])}`")
    return tuple(said)


def tried(run: xr.DataTree, task: str, causes: Sequence[Cause], *, quiet: bool = False) -> tuple[str, ...]:
    """What to try on the run's own script, the simplest first: commands, with what came of them in planted trainings.

    A loss weight from what was measured, then a method. Where a task takes part in few steps neither helped, and some
    methods hurt: there it must take part more often.

    Args:
        quiet: the task is quieter than the others, not louder.
    """
    numbers = {cause.name: cause for cause in causes}
    said, methods = [], []
    if (seldom := _seldom(numbers)) > 1:
        said.append(_more_often(task, quiet=quiet))
    tasks = _names(run)
    factors = _factors(tasks, task, numbers, quiet=quiet)
    if set(factors.values()) != {1.0} and not any(set(name) & set(",:=") for name in tasks):
        methods.append(":".join(["weights", *(f"{name}={factor:.3g}" for name, factor in factors.items())]))
    if seldom <= 1:
        methods.append(_method(run, causes))
    if methods:
        named = [cause.name for cause in causes if seldom <= 1 or cause.name != "frequency"]
        alike = _alike(numbers["weight"]) if named == ["weight"] else ""
        words = {**_WORDS, "weights": f"your own weights set alike, {alike}"} if alike else _WORDS
        said.append(_beside(run, methods, named, words))
    return tuple(said)


def by_hand(run: xr.DataTree, task: str, causes: Sequence[Cause], *, quiet: bool = False) -> str:
    """The loss weight among what ``tried`` says, as a diff against the script; "" where no line is known for it."""
    if not _is_script(run):
        return ""
    return weighted(run, _factors(_names(run), task, {cause.name: cause for cause in causes}, quiet=quiet))


def _names(run: xr.DataTree) -> list[str]:
    return [str(name) for name in run["task"].to_numpy()]


def _beside(run: xr.DataTree, methods: Sequence[str], causes: Sequence[str], words: Mapping[str, str]) -> str:
    """The command, with what came of its methods where the first of these causes was planted."""
    known = TRIED.get(causes[0] if causes else "", {})
    names = [method.partition(":")[0] for method in methods]
    parts = [f"{words[name]} ({known[name]})" if name in known else words[name] for name in names]
    both = " and ".join(parts)
    line = f"{both[0].upper()}{both[1:]}, beside the run as it is: `{_try(run, methods)}`"
    if any(name in known for name in names):
        line += ". In brackets: in how many trainings with this cause planted the weaker task got better,"
        line += " and the mean change"
    return line


def _method(run: xr.DataTree, causes: Sequence[Cause]) -> str:
    """The method against the strongest of these causes."""
    if causes and causes[0].name == "noise":
        return "uw"
    return "adatask" if _optimizer(run)[0] in _ADATASK else "imtl-g"


def _seldom(numbers: Mapping[str, Cause]) -> float:
    """How many times as many steps the louder task takes part in, where that is a cause."""
    if "frequency" not in numbers:
        return 1.0
    evidence = numbers["frequency"].evidence
    ratio = evidence.get("present", 1.0) / max(evidence.get("others", 1.0), 1e-12)
    return ratio if ratio >= CAUSE else 1.0


def _more_often(task: str, *, quiet: bool) -> str:
    who = f"{task} take" if quiet else "the others take"
    no = TRIED["seldom"]
    return (
        f"Let {who} part more often: sample their examples more, or give them a part of every batch. Where a task took"
        f" part in one step of 20, no loss weight and no method made up for it: a weight helped in {no['weights']},"
        f" AdaTask in {no['adatask']}, IMTL-G in {no['imtl-g']}"
    )


def _factors(named: Sequence[str], task: str, numbers: Mapping[str, Cause], *, quiet: bool) -> dict[str, float]:
    """What each loss is to be multiplied by, beside the script's own weights.

    Weights of the script's that are a cause are undone: all losses then have the weight that was nearest to 1.
    """
    factors = dict.fromkeys(named, 1.0)
    weight = _weight(numbers)
    if "weight" in numbers:
        own = own_weights(numbers["weight"])
        factors |= {name: _kept(own) / each for name, each in own.items()}
        if not own:  # they change from step to step
            weight *= numbers["weight"].factor ** 0.5
    factors[task] *= weight if quiet else 1 / weight
    return factors


def _kept(own: Mapping[str, float]) -> float:
    """Of the script's own weights the one that all losses are to have: with it the learning rate stays right."""
    return min(own.values(), key=lambda each: abs(math.log(each)))


def _alike(cause: Cause) -> str:
    """Which of the script's own weights are to be set to what; "" where they change by themselves."""
    own = own_weights(cause)
    moved = [f"{name} from {each:.3g} to {_kept(own):.3g}" for name, each in own.items() if each != _kept(own)]
    return listed(moved)


def _reweigh(cause: Cause) -> str:
    alike = _alike(cause)
    return f"Weigh the losses alike: {alike}." if alike else ""


def _weight(numbers: Mapping[str, Cause]) -> float:
    """By how much the louder task's gradient is too long for other reasons, as far as a weight makes up for that."""
    weight = 1.0
    if "scale" in numbers:
        weight *= max(numbers["scale"].evidence.get("gradient_ratio", 1.0), 1.0)
    if "examples" in numbers:
        weight *= max(numbers["examples"].factor, 1.0) ** 0.5
    if "noise" in numbers:
        weight *= max(numbers["noise"].factor, 1.0) ** 0.5
    if "frequency" in numbers:
        weight *= numbers["frequency"].evidence.get("rows_ratio", 1.0)
    return weight


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
    known = TRIED["conflict"]
    branch = (
        f"Give {listed(list(tasks))} a copy each of {listed(list(layers))}: branch the network there. Where one output"
        f" had to serve two opposed targets, that made the worse task better ({known['copy']}), and no method did"
        f" (MoCoGrad {known['mocograd']}; CAGrad {known['cagrad']})"
    )
    name = {"mocograd": "MoCoGrad", "cagrad": "CAGrad"}[method]
    if _is_script(run):
        more = f"Methods for gradients that conflict, beside the run as it is: `{_try(run, ['mocograd', 'cagrad'])}`"
        return branch, more
    return branch, f"{name}, which {what}: {_combiner(run, method)}"


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
