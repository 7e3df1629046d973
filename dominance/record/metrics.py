"""``dominance.log``: the script says how well its tasks do, and the run in progress keeps it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from numbers import Real
from typing import Any

from dominance.record.tasks.named import observers


def log(
    metrics: Mapping[str, float] | None = None, /, *, task: str | None = None, split: str = "train", **named: float
) -> None:
    """Store metrics of one task (or of the whole model) at the present step of the run in progress.

    Works with ``dominance record`` and within a ``Recorder``, from the start of the script on: what comes before the
    first step is stored with it. It does nothing when no recording is in progress, so it can stay in a script for good.

    Args:
        metrics: metric name -> value, also for names that are no keywords or are taken, like "task".
        task: name of the task; None for a metric of all.
        split: "train", "val", "test" or a name of your own.
        named: further metrics, name=value.

    Raises:
        TypeError: a recording is in progress, and a value is no number (a tensor of one element is one), or a name no
            string.
        ValueError: a metric is given twice.

    >>> log(task="click", split="val", auc=0.7)
    >>> log({"recall@10": 0.3}, task="click", split="test")
    """
    if not observers():
        return
    values = told(metrics, named)
    for observer in observers():
        observer.log(task, split, values)


def told(metrics: Mapping[str, float] | None, named: Mapping[str, float]) -> dict[str, float]:
    """The metrics of both, as plain numbers; see ``log`` for what it raises."""
    given = dict(metrics or {})
    if twice := given.keys() & named.keys():
        raise ValueError(f"{', '.join(sorted(twice))}: given as a mapping and by name")
    return {_name(name): _number(name, value) for name, value in (given | dict(named)).items()}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a metric is called {name!r}: give its name as a string")
    return name


def _number(name: str, value: Any) -> float:
    if hasattr(value, "detach"):
        # A loss may be given as it is: to be turned into a number it must need no gradient.
        value = value.detach()
    if not isinstance(value, Real):
        numbers = value.numel() if callable(getattr(value, "numel", None)) else getattr(value, "size", None)
        if numbers != 1:
            raise TypeError(f"the metric {name} is {type(value).__name__}: give one number")
        value = value.item()
    return float(value)


def known_number(value: Any) -> float | None:
    """The number that a value is, had without a trace and without waiting for an accelerator; None: it is none.

    Args:
        value: anything; a number, or a tensor on the CPU or an array of one element is one.
    """
    if isinstance(value, Real):
        return float(value)
    if type(value).__module__ == "numpy" and getattr(value, "size", 0) == 1:
        return known_number(value.item())
    torch = sys.modules.get("torch")
    if torch is None or type(value) not in (torch.Tensor, torch.nn.Parameter) or value.numel() != 1:
        return None
    if value.device.type != "cpu" or value.layout is not torch.strided or value.is_complex():
        return None
    from dominance.record.guest.unseen import unseen

    with unseen():
        return float(value.item())
