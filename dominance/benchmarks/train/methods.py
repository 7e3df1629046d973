"""The methods that a benchmark can be trained with, by name: which combiner and which optimizer each is made of."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

import dominance.optim
from dominance.benchmarks.arguments import arguments, defaults, read
from dominance.benchmarks.arguments import describe as kind_words
from dominance.benchmarks.train.method_step import MethodStep
from dominance.errors import BadOption, DominanceError

Step = Literal["plain", "adatask", "pub", "clippy"]


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as it is typed; without regard to case, "-" and "_".
        title: what it does to the tasks, in a few words.
        combiner: class in ``dominance.optim`` that combines the gradients; None: they are added.
        step: the optimizer's kind: one of torch's, or a task-wise one.
        manipulation: class in ``dominance.optim`` that PUB manipulates updates with.
        usual: arguments of the optimizer, unless others are given.
        representation: works on the gradients of the shared representation.
        alone: trains a model for each task.
    """

    name: str
    title: str
    combiner: str | None = None
    step: Step = "plain"
    manipulation: str | None = None
    usual: Mapping[str, Any] = field(default_factory=dict)
    representation: bool = False
    alone: bool = False


OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], Mapping[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adagrad": (torch.optim.Adagrad, {}),
}

_TASK_WISE: dict[Step, dict[str, tuple[str, Mapping[str, Any]]]] = {
    "adatask": {
        "adam": ("AdaTaskAdam", {}),
        "rmsprop": ("AdaTaskRMSprop", {}),
        "adagrad": ("AdaTaskAdagrad", {}),
    },
    "pub": {base: ("PUB", {"base": base}) for base in ("adam", "adagrad", "rmsprop")},
    "clippy": {"adam": ("Clippy", {})},
}
"""Kind of task-wise optimizer -> what it is built on -> its class, and how it is told."""

_STEPS_OWN = ("params", "lr", "betas", "eps", "weight_decay", "decoupled_weight_decay")
"""Arguments that Clippy has as an optimizer, but not as what PUB manipulates updates with."""

METHODS = {
    method.name: method
    for method in (
        Method("equal-weight", "the plain sum of the losses", "EqualWeight"),
        Method("stl", "single-task learning: a model for each task", "EqualWeight", alone=True),
        Method("grid-search", "fixed weights of the losses, given with --option weights=...", "GridSearch"),
        Method("uw", "uncertainty weighting: learnt weights of the losses", "UW"),
        Method("dwa", "dynamic weight average: losses that fall slowly weigh more", "DWA"),
        Method("rlw", "random weights of the losses, new at each step", "RLW"),
        Method("si", "scale-invariant: the sum of the logarithms of the losses", "SI"),
        Method("gradnorm", "learnt weights that bring the gradients to one rate", "GradNorm"),
        Method("bandit-mtl", "adversarial weights that keep the losses' variance low", "BanditMTL"),
        Method("famo", "weights under which all losses fall at one rate", "FAMO"),
        Method("mgda", "the shortest vector in the gradients' convex hull", "MGDA"),
        Method("mgda-ub", "MGDA on the gradients of the representation", "MGDA", representation=True),
        Method("pareto-mtl", "descent within a cone of preferences", "ParetoMTL"),
        Method("pcgrad", "conflicting gradients are projected away", "PCGrad"),
        Method("gradvac", "gradients are drawn to their usual similarity", "GradVac"),
        Method("graddrop", "at each entry one sign of the gradients survives", "GradDrop"),
        Method("cagrad", "the worst-off task's descent, near the mean gradient", "CAGrad"),
        Method("imtl-g", "equal projections on all gradients", "IMTLG"),
        Method("imtl", "IMTL-G, and losses scaled alike", "IMTL"),
        Method("nash-mtl", "the Nash bargaining solution over gradients", "NashMTL"),
        Method("mocograd", "conflicts calibrated by other tasks' momenta", "MoCoGrad"),
        Method("adatask", "an accumulator of squared gradients for each task", step="adatask"),
        Method("ladatask", "AdaTask with one number a layer", step="adatask", usual={"granularity": "layer"}),
        Method("adatask+pcgrad", "AdaTask on gradients manipulated by PCGrad", "PCGrad", step="adatask"),
        Method("adatask+cagrad", "AdaTask on gradients manipulated by CAGrad", "CAGrad", step="adatask"),
        Method("clippy", "updates clipped relative to their parameters", step="clippy"),
        Method("pub", "the Nash bargaining solution over updates", step="pub"),
        Method("pub+clippy", "PUB over updates clipped by Clippy", step="pub", manipulation="Clippy"),
        Method("pub+adatask", "PUB over AdaTask's updates", step="pub", manipulation="AdaTask"),
    )
}


def method(name: str) -> Method:
    """The method of this name; case, "-" and "_" make no difference, "LS" is equal weighting.

    Raises:
        BadOption: there is none.

    >>> method("NashMTL").name, method("AdaTask+PCGrad").name
    ('nash-mtl', 'adatask+pcgrad')
    """
    known = {_bare(each): each for each in METHODS} | {"ls": "equal-weight", "ew": "equal-weight"}
    bare = _bare(name)
    if bare not in known:
        close = difflib.get_close_matches(bare, known, n=3, cutoff=0.5)
        fix = f"did you mean {', '.join(known[each] for each in close)}?" if close else ""
        raise BadOption(f"no method {name!r}", fix=fix or "see `dominance train --list`")
    return METHODS[known[bare]]


def build(
    method: Method,
    model: nn.Module,
    tasks: tuple[str, ...],
    *,
    optimizer: str,
    lr: float,
    weight_decay: float = 0.0,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> MethodStep:
    """What takes the training steps of a method on a model.

    Args:
        tasks: names, for methods that keep something for each.
        optimizer: one of ``OPTIMIZERS``; the task-wise methods pick their class by it.
        options: arguments of the method's classes: a name that two of them have goes to the combiner. Texts are
            converted.

    Raises:
        BadOption: an option that the method does not have, or an optimizer that it cannot be built on.
    """
    combining = None if method.combiner is None else getattr(dominance.optim, method.combiner)
    optimizer_class, chosen = _optimizer(method, optimizer)
    manipulating = None if method.manipulation is None else getattr(dominance.optim, method.manipulation)
    of_combiner = {} if combining is None else arguments(combining, hidden=("tasks",))
    of_manipulation = {} if manipulating is None else arguments(manipulating, hidden=_STEPS_OWN)
    of_optimizer = arguments(optimizer_class, hidden=("params", "lr", "weight_decay", "base"))
    given = read(options or {}, {**of_optimizer, **of_manipulation, **of_combiner}, "--option", method.name)

    def taken(known: Mapping[str, Any]) -> dict[str, Any]:
        return {key: given.pop(key) for key in list(given) if key in known}

    combiner = None
    if combining is not None:
        combiner = _made(
            combining, method, {**_supplied(combining, tasks, seed), **taken(of_combiner)}, of_combiner, tasks
        )
    if manipulating is not None:
        chosen["manipulation"] = _made(manipulating, method, taken(of_manipulation), of_manipulation)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [p for _, p in named] if method.step == "plain" else named}]
    learnt = [] if combiner is None else list(combiner.parameters())
    if learnt:
        groups.append({"params": learnt, "weight_decay": 0.0})
    chosen = {"params": groups, "lr": lr, "weight_decay": weight_decay, **chosen, **taken(of_optimizer)}
    return MethodStep(
        model, combiner, _made(optimizer_class, method, chosen, of_optimizer), task_wise=method.step != "plain"
    )


def described(name: str) -> str:
    """What a person should know before training with a method: what it does, its optimizers and its options.

    Raises:
        BadOption: there is no such method.
    """
    chosen = method(name)
    bases = list(OPTIMIZERS if chosen.step == "plain" else _TASK_WISE[chosen.step])
    lines = [
        f"{chosen.name}: {chosen.title}",
        "",
        f"Optimizers  {', '.join(bases)}",
        "",
        "Options (--option NAME=VALUE)",
    ]
    base = bases[0] if chosen.step != "plain" else None
    rows: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    if base is not None:
        class_name, fixed = _TASK_WISE[chosen.step][base]
        optimizer_class = getattr(dominance.optim, class_name)
        usual = {**defaults(optimizer_class), **chosen.usual}
        hidden = ("params", "lr", "weight_decay", *fixed)
        rows |= {key: (kind, usual) for key, kind in arguments(optimizer_class, hidden=hidden).items()}
    for held, hidden in ((chosen.manipulation, _STEPS_OWN), (chosen.combiner, ("tasks", "seed"))):
        if held is not None:
            call = getattr(dominance.optim, held)
            rows |= {key: (kind, defaults(call)) for key, kind in arguments(call, hidden=hidden).items()}
    lines += [
        f"  {key} = {usual[key]}  ({kind_words(kind)})" if key in usual else f"  {key}  ({kind_words(kind)})"
        for key, (kind, usual) in rows.items()
    ]
    lines += [] if rows else ["  none"]
    lines += [] if base is not None else ["", "and those of torch's optimizer, such as betas or momentum"]
    return "\n".join(lines)


def _example(kind: Any, tasks: tuple[str, ...]) -> str:
    """How a value of this type may be typed for these tasks."""
    if typing.get_origin(kind) in (dict, Mapping):
        return ",".join(f"{task}:{1 / len(tasks):.2g}" for task in tasks)
    return f"... ({kind_words(kind)})"


def _made(
    call: Callable[..., Any],
    method: Method,
    chosen: Mapping[str, Any],
    known: Mapping[str, Any],
    tasks: tuple[str, ...] = (),
) -> Any:
    """The object, unless an argument is missing or wrong."""
    wanted = inspect.signature(call).parameters.values()
    missing = [p.name for p in wanted if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in chosen]
    if missing:
        how = "; ".join(f"--option {name}={_example(known[name], tasks)}" for name in missing if name in known)
        raise BadOption(f"{method.name} needs {' and '.join(missing)}", fix=f"give them, like {how}" if how else "")
    try:
        return call(**chosen)
    except DominanceError:
        raise
    except ValueError as error:
        raise BadOption(f"{method.name}: {error}", fix="see --lr, --weight-decay and --option") from error


def _optimizer(method: Method, name: str) -> tuple[Callable[..., Optimizer], dict[str, Any]]:
    """The optimizer's class and the arguments that the method gives it."""
    if name not in OPTIMIZERS:
        raise BadOption(f"no optimizer {name!r}", fix=f"choose from {', '.join(OPTIMIZERS)}")
    if method.step == "plain":
        found, chosen = OPTIMIZERS[name]
        return found, dict(chosen)
    bases = _TASK_WISE[method.step]
    if name not in bases:
        raise BadOption(f"{method.name} cannot be built on {name}", fix=f"give --optimizer {' or '.join(bases)}")
    class_name, chosen = bases[name]
    return getattr(dominance.optim, class_name), {**chosen, **method.usual}


def _supplied(call: type, tasks: tuple[str, ...], seed: int) -> dict[str, Any]:
    """What a combiner is given without being asked for: the tasks' names and the seed of its random numbers."""
    wanted = inspect.signature(call).parameters
    return {name: value for name, value in (("tasks", tasks), ("seed", seed)) if name in wanted}


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())
