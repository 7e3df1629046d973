"""What to try on a recorded script, the simplest first: commands, and what came of them in planted trainings."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from dominance.analyse.optimizers import usual
from dominance.analyse.verdict.causes import Cause, own_weights
from dominance.analyse.verdict.evidence import TRIED, Tried
from dominance.analyse.verdict.patch import TASK_WISE, by_method, weighted
from dominance.analyse.verdict.rules import CAUSE
from dominance.analyse.verdict.words import listed

ADATASK = {kind: name for kind, (name, _, _) in TASK_WISE.items()}
"""Class of an optimizer -> AdaTask's in its place."""
_SCALE_FREE = {*ADATASK, *ADATASK.values(), "NAdam", "RAdam", "Adamax", "Adadelta"}
"""Optimizers that divide by a measure of the gradient's own length."""
_WORDS = {
    "weights": "a loss weight from what was measured",
    "adatask": "AdaTask",
    "uw": "learnt weights (UW)",
    "imtl-g": "IMTL-G",
    "cagrad": "CAGrad",
    "mocograd": "MoCoGrad",
}
AS_IT_IS = "equal-weight"


@dataclass(frozen=True)
class Remedies:
    """What is to be tried on a script.

    Attributes:
        factors: what each loss is to be multiplied by, beside the script's own weights; empty: no weight is advised.
        method: that is advised; "" for none.
        against: the causes that these are against, the first the strongest.
        came: what came of remedies where the first of these was planted.
        seldom: whether a task takes part in few steps, which none of these makes up for.
    """

    factors: Mapping[str, float]
    method: str
    against: Sequence[str]
    came: Mapping[str, Tried]
    seldom: bool


def remedies(run: xr.DataTree, task: str, causes: Sequence[Cause], *, quiet: bool) -> Remedies:
    """A loss weight from what was measured, and a method: those of which nothing says that they do not help."""
    numbers = {cause.name: cause for cause in causes}
    seldom = _seldom(numbers) > 1
    against = [cause.name for cause in causes if not (seldom and cause.name == "frequency")]
    came = _known(run).get(against[0] if against else "", {})
    factors = {} if in_use(run) else _factors(run, task, numbers, quiet=quiet)
    if (
        set(factors.values()) == {1.0}
        or any(set(name) & set(",:=") for name in factors)
        or not _helped(came, "weights")
    ):
        factors = {}
    method = "" if seldom else _method(run, causes)
    return Remedies(factors, method if _helped(came, method) else "", against, came, seldom)


def tried(run: xr.DataTree, task: str, causes: Sequence[Cause], *, quiet: bool = False) -> tuple[str, ...]:
    """What to try on the run's own script, with what came of it in planted trainings.

    Where a task takes part in few steps no command helped, and some methods hurt: there it must take part more often.

    Args:
        quiet: the task is quieter than the others, not louder.
    """
    found = remedies(run, task, causes, quiet=quiet)
    said = [_more_often(run, task, quiet=quiet)] if found.seldom else []
    methods = [weights_method(found.factors)] if found.factors else []
    methods += [found.method] if found.method else []
    if (now := in_use(run)) and methods:
        # Options in which the list of methods has its own marks cannot be typed there.
        typed = [] if any(set(str(each)) & set(",:") for each in run.attrs.get("method_options") or ()) else [now]
        beside = "that and the script as it is" if typed else "the script as it is"
        command = try_command(run, [*typed, *methods])
        return (*said, f"{_listed(methods)} in the place of {now}, beside {beside}: `{command}`")
    if methods:
        words = dict(_WORDS)
        cause = next((cause for cause in causes if cause.name == "weight"), None)
        if found.against == ["weight"] and cause is not None and (moved := alike(cause)):
            words["weights"] = f"your own weights set alike, {moved}"
        line = _beside(run, methods, found.came, words)
        if found.seldom:
            line = f"Against the {[*found.against, 'rows seldom seen'][0]} beside it: {line[0].lower()}{line[1:]}"
        said.append(line)
    elif not found.seldom and found.came:
        came = _outcomes(found.came, _WORDS)
        said.append(f"Nothing that a command does: where this cause was planted, {came}.")
    return tuple(said)


def by_hand(run: xr.DataTree, task: str, causes: Sequence[Cause], *, quiet: bool = False) -> tuple[str, str]:
    """The weight and the method among what ``tried`` says, as diffs against the script; "" where no lines are known."""
    if not is_script(run):
        return "", ""
    found = remedies(run, task, causes, quiet=quiet)
    return weighted(run, found.factors), by_method(run, found.method)


def against_conflict(run: xr.DataTree, tasks: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """What to try when two tasks undo each other: no command made up for it."""
    came = _known(run)["conflict"]
    return (
        f"Give {listed(list(tasks))} a copy each of {listed(list(layers))}: branch the network there. Where one output"
        f" had to serve two opposed targets, that made the worse task better in {came['copy'].trainings}. No method for"
        f" gradients that conflict made up for it, so none is advised: MoCoGrad helped in {came['mocograd']}, CAGrad in"
        f" {came['cagrad']}",
    )


def _more_often(run: xr.DataTree, task: str, *, quiet: bool) -> str:
    who = f"{task} take" if quiet else "the others take"
    came = dict(_known(run)["seldom"])
    often = came.pop("often")
    helped = _outcomes(came, {**_WORDS, "weights": "a weight"})
    return (
        f"Let {who} part more often: sample their examples more, or give them a part of every batch. Where a task took"
        f" part in one step of 20, one step of 4 made it better in {often.trainings}. No command made up for it, so"
        f" none is advised: {helped}"
    )


def _beside(run: xr.DataTree, methods: Sequence[str], came: Mapping[str, Tried], words: Mapping[str, str]) -> str:
    """What to try and what came of it, then the command."""
    names = [method.partition(":")[0] for method in methods]
    line = _listed(methods, words)
    if set(names) <= set(came):
        first, *rest = (came[name] for name in names)
        better = " and in ".join([first.trainings, *map(str, rest)])
        line += (
            f". Where this cause was planted, {'these' if rest else 'it'} made the weaker task better in {better}. B"
        )
    else:
        line += ", b"
    return f"{line}eside the run as it is: `{try_command(run, methods)}`"


def _outcomes(came: Mapping[str, Tried], words: Mapping[str, str]) -> str:
    said = [f"{words[name]} {'in' if i else 'helped in'} {each}" for i, (name, each) in enumerate(came.items())]
    return listed(said)


def _listed(methods: Sequence[str], words: Mapping[str, str] = _WORDS) -> str:
    both = " and ".join(words[method.partition(":")[0]] for method in methods)
    return f"{both[0].upper()}{both[1:]}"


def _known(run: xr.DataTree) -> Mapping[str, Mapping[str, Tried]]:
    """What came of remedies in trainings by an optimizer like the run's."""
    return TRIED["adam" if optimizer_of(run)[0] in _SCALE_FREE else "momentum"]


def _helped(came: Mapping[str, Tried], method: str) -> bool:
    """Whether it helped in every training in which it was tried; True where it was in none."""
    return method not in came or came[method].rose == came[method].of


def _method(run: xr.DataTree, causes: Sequence[Cause]) -> str:
    """The method against the strongest of these causes, for the run's optimizer; another one than is in use."""
    optimizer, now = optimizer_of(run)[0], in_use(run).partition(":")[0]
    if optimizer in _SCALE_FREE:
        noise = bool(causes) and causes[0].name == "noise"
        choices = ["uw"] if noise else (["adatask"] if optimizer in ADATASK else []) + ["imtl-g"]
    else:
        choices = ["cagrad"]
    return next((method for method in choices if method != now), "")


def _seldom(numbers: Mapping[str, Cause]) -> float:
    """How many times as many steps the louder task takes part in, where that is a cause."""
    if "frequency" not in numbers:
        return 1.0
    evidence = numbers["frequency"].evidence
    ratio = evidence.get("present", 1.0) / max(evidence.get("others", 1.0), 1e-12)
    return ratio if ratio >= CAUSE else 1.0


def _factors(run: xr.DataTree, task: str, numbers: Mapping[str, Cause], *, quiet: bool) -> dict[str, float]:
    """What each loss is to be multiplied by, beside the script's own weights.

    Weights of the script's that are a cause are undone: all losses then have the weight that was nearest to 1. What was
    measured beside them is one weight where the step does not depend on how long the gradient is; else the product of
    all is 1, so that a smaller weight is no smaller learning rate. Of a run with weights that ``record --method`` gave,
    these are in it.
    """
    named = names_of(run)
    factors, measured = given_weights(run), dict.fromkeys(named, 1.0)
    weight = measured_weight(numbers)
    if "weight" in numbers:
        own = own_weights(numbers["weight"])
        factors = {name: factors[name] * (_kept(own) / own[name] if own else 1.0) for name in named}
        if not own:  # they change from step to step
            weight *= numbers["weight"].factor ** 0.5
    measured[task] = weight if quiet else 1 / weight
    if not _scale_free(run):
        mean = measured[task] ** (1 / len(named))
        measured = {name: each / mean for name, each in measured.items()}
    return {name: factors[name] * measured[name] for name in named}


def _scale_free(run: xr.DataTree) -> bool:
    """Whether the run's optimizer steps as far on gradients of half the length."""
    optimizer, group = optimizer_of(run)
    return optimizer in _SCALE_FREE and (optimizer == "AdamW" or not group.get("weight_decay"))


def _kept(own: Mapping[str, float]) -> float:
    """Of the script's own weights the one that all losses are to have: with it the learning rate stays right."""
    return min(own.values(), key=lambda each: abs(math.log(each)))


def alike(cause: Cause) -> str:
    """Which of the script's own weights are to be set to what; "" where they change by themselves."""
    own = own_weights(cause)
    moved = [f"{name} from {each:.3g} to {_kept(own):.3g}" for name, each in own.items() if each != _kept(own)]
    return listed(moved)


def measured_weight(numbers: Mapping[str, Cause]) -> float:
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


# The run and its script


def names_of(run: xr.DataTree) -> list[str]:
    """The run's tasks."""
    return [str(name) for name in run["task"].to_numpy()]


def is_script(run: xr.DataTree) -> bool:
    """Whether the run is of a script that can be run again as it was."""
    return run.attrs.get("recorded_by") == "dominance record" and bool(run.attrs.get("argv"))


def in_use(run: xr.DataTree) -> str:
    """The method that the script was recorded with, as ``try`` takes it, where it is more than weights; "" else."""
    method = str(run.attrs.get("method") or "") if is_script(run) else ""
    if method in ("", AS_IT_IS, "weights"):
        return ""
    return ":".join([method, *(str(option) for option in run.attrs.get("method_options") or ())])


def given_weights(run: xr.DataTree) -> dict[str, float]:
    """Task -> the weight that ``record --method weights`` gave it."""
    given = dict.fromkeys(names_of(run), 1.0)
    options = run.attrs.get("method_options") or () if run.attrs.get("method") == "weights" else ()
    for part in ",".join(map(str, options)).split(","):
        name, _, number = part.strip().rpartition("=")
        if name.strip() in given:
            given[name.strip()] = float(number)
    return given


def weights_method(factors: Mapping[str, float]) -> str:
    """Weights of the losses, as ``try`` takes them."""
    return ":".join(["weights", *(f"{name}={factor:.3g}" for name, factor in factors.items())])


def try_command(run: xr.DataTree, methods: Sequence[str], *flags: str) -> str:
    """The command that tries these methods on the run's own script."""
    told = [str(word) for word in run.attrs.get("record_options") or []]
    given = ["--methods", ",".join(methods)] if methods else []
    return shlex.join(["dominance", "try", *flags, *given, *told, *(str(part) for part in run.attrs["argv"])])


def optimizer_of(run: xr.DataTree) -> tuple[str, Mapping[str, Any]]:
    """The class of the run's first optimizer, and its first group as it was most of the time.

    Under OneCycleLR its learning rate is the largest: that is the one that somebody chose.
    """
    described = run.attrs.get("optimizers") or [{}]
    groups = described[0].get("groups") or [{}]
    chosen = {"lr": groups[0]["max_lr"]} if "max_lr" in groups[0] else {}
    return str(described[0].get("class", "")), usual({**groups[0], **chosen})
