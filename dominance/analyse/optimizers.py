"""What a run says of the optimizer that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import xarray as xr

from dominance.analyse.kernels.second_moment import MomentRule
from dominance.errors import BadOption, NothingRecorded

_FAMILY = {
    "Adagrad": "adagrad", "RMSprop": "rmsprop", "Adam": "adam", "AdamW": "adam", "NAdam": "adam", "Clippy": "adam",
    "AdaTaskAdagrad": "adagrad", "AdaTaskRMSprop": "rmsprop", "AdaTaskAdam": "adam",
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "adagrad": {"eps": 1e-10, "initial_accumulator_value": 0.0, "lr_decay": 0.0},
    "rmsprop": {"eps": 1e-8, "alpha": 0.99, "centered": False},
    "adam": {"eps": 1e-8, "betas": (0.9, 0.999), "amsgrad": False},
}
"""What torch takes where nothing is said."""

_ONE_RATE = ("SGD", "ASGD", "LBFGS", "Muon")
_AS_IF = 'to see it as if under another one, say optimizer="Adam", or {"class": "RMSprop", "alpha": 0.9}'

Optimizer = int | str | Mapping[str, Any] | None


@dataclass(frozen=True)
class Accumulation:
    """How the optimizer of a run turns gradients into a learning rate for each parameter.

    Attributes:
        name: its class.
        family: "adagrad", "rmsprop" or "adam".
        rule: how it accumulates squared gradients.
        own: every task has an accumulator of its own (AdaTask).
        coupled: weight decay is added to the gradient, and so is accumulated, too.
    """

    name: str
    family: str
    rule: MomentRule
    own: bool
    coupled: bool


def accumulation(run: xr.DataTree, optimizer: Optimizer = None) -> Accumulation:
    """The accumulation of the run's optimizer, or of one that is named instead.

    Args:
        optimizer: None: the run's own. A number: which of them, where it has several. A class name of torch.optim, or
            a mapping with "class" and what differs from torch's defaults: as if it had been that one.

    Raises:
        BadOption: no such optimizer, or an entry that means nothing.
        NothingRecorded: the optimizer has one learning rate for all parameters, or is not known; or the run does not
            say which of several optimizers or parameter groups, that accumulate differently, has the parameters.
    """
    where = run.attrs.get("path", "run")
    if isinstance(optimizer, str | Mapping):
        told = {"class": optimizer} if isinstance(optimizer, str) else dict(optimizer)
        name = str(told.pop("class", ""))
        known = _DEFAULTS.get(_family(name, where), {})
        for key in told:
            if key not in known:
                raise BadOption(f"optimizer: {key!r} is no option of {name} here", fix=f"there are {', '.join(known)}")
        return _of(name, [told], where)
    recorded: Sequence[Mapping[str, Any]] = run.attrs.get("optimizers", [])
    if not recorded:
        raise NothingRecorded(f"{where}: does not say which optimizer it was trained with", fix=_AS_IF)
    if optimizer is not None:
        if not 0 <= optimizer < len(recorded):
            raise BadOption(f"optimizer={optimizer}: the run has {len(recorded)}", fix="count from 0")
        recorded = [recorded[optimizer]]
    found = [_of(each["class"], each["groups"], where) for each in recorded]
    if any(each != found[0] for each in found):
        named = ", ".join(f"{i}: {each.name}" for i, each in enumerate(found))
        raise NothingRecorded(f"{where}: has several optimizers ({named})", fix="say which one: optimizer=0")
    return found[0]


_NUMBERS = ("lr", "momentum", "weight_decay", "eps", "alpha", "initial_accumulator_value", "lr_decay")


def usual(group: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of a group without those that mean something else in it than in torch.optim.

    >>> usual({"lr": 0.1, "betas": [0.9, 0.99], "momentum": None, "eps": [1e-30, 1e-3], "amsgrad": False})
    {'lr': 0.1, 'betas': [0.9, 0.99], 'amsgrad': False}
    """
    betas = group.get("betas")
    odd = {name for name in _NUMBERS if not _all_numbers([group.get(name)])}
    if not (_all_numbers(betas) and len(betas) >= 2 and all(0 <= beta < 1 for beta in betas)):
        odd.add("betas")
    return {name: value for name, value in group.items() if name not in odd}


def _all_numbers(values: Any) -> TypeGuard[Sequence[float]]:
    return isinstance(values, list | tuple) and all(isinstance(each, int | float) for each in values)


def _family(name: str, where: str) -> str:
    if name in _FAMILY:
        return _FAMILY[name]
    if name in _ONE_RATE:
        says = f"{name} has one learning rate for all parameters and tasks: there is nothing to compare"
    else:
        says = f"{name or 'the optimizer'} is not known to be of the Adagrad, RMSprop or Adam family"
    raise NothingRecorded(f"{where}: {says}", fix=_AS_IF)


def _of(name: str, groups: Sequence[Mapping[str, Any]], where: str) -> Accumulation:
    family = _family(name, where)
    groups = [usual(group) for group in groups]
    rules = {_rule(family, {**_DEFAULTS[family], **group}) for group in groups}
    if len(rules) != 1:
        raise NothingRecorded(
            f"{where}: the parameter groups of {name} accumulate squared gradients differently",
            fix=f'say how those of the shared parameters do: optimizer={{"class": "{name}", ...}}',
        )
    coupled = any(
        group.get("weight_decay", 0) and name != "AdamW" and not group.get("decoupled_weight_decay", False)
        for group in groups
    )
    return Accumulation(name, family, rules.pop(), name.startswith("AdaTask"), coupled)


def _rule(family: str, options: Mapping[str, Any]) -> MomentRule:
    eps = float(options["eps"])
    if family == "adagrad":
        start, decay = float(options["initial_accumulator_value"]), float(options["lr_decay"])
        return MomentRule(eps, start=start, rate_decay=decay)
    if family == "rmsprop":
        return MomentRule(eps, decay=float(options["alpha"]), centered=bool(options["centered"]))
    highest = bool(options.get("amsgrad", False))
    return MomentRule(eps, decay=float(options["betas"][1]), corrected=True, highest=highest)
