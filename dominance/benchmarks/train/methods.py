"""What the methods that a benchmark can be trained with are made of: which combiner, and which optimizer."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

import dominance.optim
from dominance.benchmarks.arguments import arguments, defaults, read
from dominance.benchmarks.arguments import describe as kind_words
from dominance.benchmarks.train.method_names import METHODS as METHODS
from dominance.benchmarks.train.method_names import Method, Step
from dominance.benchmarks.train.method_names import method as method
from dominance.benchmarks.train.method_step import MethodStep
from dominance.errors import BadOption, DominanceError
from dominance.optim.engine.combiner import Combiner

OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], Mapping[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
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

_NO_OPTIONS = ("params", "lr", "weight_decay", "base")
"""Arguments of optimizers that are given otherwise."""
_STEPS_OWN = ("params", "lr", "betas", "eps", "weight_decay", "decoupled_weight_decay")
"""Arguments that Clippy has as an optimizer, but not as what PUB manipulates updates with."""


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
    optimizer_class, chosen = _optimizer(method, optimizer)
    given = divided(method, options or {}, arguments(optimizer_class, hidden=_NO_OPTIONS), "--option")
    combiner = combiner_of(method, tasks, seed, given)
    if method.manipulation is not None:
        chosen["manipulation"] = manipulation_of(method, given)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [p for _, p in named] if method.step == "plain" else named}]
    learnt = [] if combiner is None else list(combiner.parameters())
    if learnt:
        groups.append({"params": learnt, "weight_decay": 0.0})
    chosen = {"params": groups, "lr": lr, "weight_decay": weight_decay, **chosen, **given.optimizer}
    return MethodStep(model, combiner, _made(optimizer_class, method, chosen, {}), task_wise=method.step != "plain")


def option_types(method: Method, optimizer: str) -> dict[str, Any]:
    """Options that a method takes with one of ``OPTIMIZERS``, and how they are typed.

    Raises:
        BadOption: the method cannot be built on this optimizer.
    """
    of_optimizer = arguments(_optimizer(method, optimizer)[0], hidden=_NO_OPTIONS)
    of_combiner = {} if method.combiner is None else arguments(_class(method.combiner), hidden=("tasks",))
    of_manipulation = {} if method.manipulation is None else arguments(_class(method.manipulation), hidden=_STEPS_OWN)
    return {**of_optimizer, **of_manipulation, **of_combiner}


@dataclass(frozen=True)
class Divided:
    """Options of a method: which of its parts takes which, and how they are typed.

    Attributes:
        where: the flag that gives them.
        combiner, manipulation, optimizer: the arguments of each.
        known: the types of the combiner's arguments, and those of the manipulation.
    """

    where: str
    combiner: Mapping[str, Any]
    manipulation: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    known: Mapping[str, Any]


def divided(method: Method, options: Mapping[str, Any], of_optimizer: Mapping[str, Any], where: str) -> Divided:
    """The options, read and given to the parts; a name that two of them have goes to the combiner.

    Args:
        of_optimizer: the optimizer's arguments that can be given, with their types.
        where: the flag that gives them.

    Raises:
        BadOption: an option that the method does not have, or a text that is not of its type.
    """
    of_combiner = {} if method.combiner is None else arguments(_class(method.combiner), hidden=("tasks",))
    of_manipulation = {} if method.manipulation is None else arguments(_class(method.manipulation), hidden=_STEPS_OWN)
    given = read(options, {**of_optimizer, **of_manipulation, **of_combiner}, where, method.name)

    def taken(known: Mapping[str, Any]) -> dict[str, Any]:
        return {key: given.pop(key) for key in list(given) if key in known}

    return Divided(
        where, taken(of_combiner), taken(of_manipulation), taken(of_optimizer), {**of_manipulation, **of_combiner}
    )


def combiner_of(method: Method, tasks: tuple[str, ...], seed: int, given: Divided) -> Combiner | None:
    """The method's combiner; None where it has none.

    Raises:
        BadOption: an argument is missing or wrong.
    """
    if method.combiner is None:
        return None
    call = _class(method.combiner)
    made: Combiner = _made(
        call, method, {**_supplied(call, tasks, seed), **given.combiner}, given.known, tasks, given.where
    )
    return made


def manipulation_of(method: Method, given: Divided) -> Any:
    """What PUB manipulates updates with; None where it does not.

    Raises:
        BadOption: an argument is wrong.
    """
    if method.manipulation is None:
        return None
    return _made(_class(method.manipulation), method, given.manipulation, given.known, where=given.where)


def task_wise(step: Step, base: str) -> tuple[Callable[..., Optimizer], Mapping[str, Any]]:
    """The class of the task-wise optimizer that is built on this one, and how it is told.

    Raises:
        KeyError: there is none.
    """
    name, told = _TASK_WISE[step][base]
    return _class(name), told


def _class(name: str) -> Any:
    return getattr(dominance.optim, name)


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
    where: str = "--option",
) -> Any:
    """The object, unless an argument is missing or wrong."""
    wanted = inspect.signature(call).parameters.values()
    missing = [p.name for p in wanted if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in chosen]
    if missing:
        how = "; ".join(f"{where} {name}={_example(known[name], tasks)}" for name in missing if name in known)
        raise BadOption(f"{method.name} needs {' and '.join(missing)}", fix=f"give them, like {how}" if how else "")
    try:
        return call(**chosen)
    except DominanceError:
        raise
    except ValueError as error:
        raise BadOption(
            f"{method.name}: {error}",
            fix=f"see --lr, --weight-decay and {where}" if where == "--option" else f"see {where}",
        ) from error


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
