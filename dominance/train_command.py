"""The command line of a training, from its options."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

NOT_FLAGS = ("benchmark", "method", "settings", "options", "representation")
"""Options of a training that are no flag with a value."""

_UNLESS_GIVEN: Mapping[str, Any] = {
    "seed": 0,
    "warmup": 0,
    "weight_decay": 0.0,
    "decay": 10.0,
    "lr_power": 0.0,
    "last": 1,
    "device": "cpu",
    "threads": 1,
}


def command(training: Mapping[str, Any]) -> str:
    """What to type for this training; see ``words``.

    >>> options = {"benchmark": "digits", "method": "uw", "lr": 0.01, "seed": 0, "tasks": ["a", "b"], "settings": {}}
    >>> command(options)
    'dominance train digits --method uw --lr 0.01 --tasks a,b'
    """
    return shlex.join(words(training))


def words(training: Mapping[str, Any]) -> list[str]:
    """The words of ``command``.

    Args:
        training: plain options, as ``TrainOptions.to_plain`` returns them; of a benchmark or method that it lacks the
            name is left open, as in the help.
    """
    benchmark, method = (str(training.get(name, name.upper())) for name in ("benchmark", "method"))
    found = ["dominance", "train", benchmark, "--method", method]
    for name, value in training.items():
        if name in NOT_FLAGS or value is None or value == [] or _UNLESS_GIVEN.get(name) == value:
            continue
        found += [f"--{name.replace('_', '-')}", _text(value)]
    found += ["--representation"] * bool(training.get("representation"))
    for flag, name in (("--set", "settings"), ("--option", "options")):
        for key, value in training.get(name, {}).items():
            found += [flag, f"{key}={_text(value)}"]
    return found


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{part}" for key, part in value.items())
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
