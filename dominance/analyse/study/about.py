"""What a run says of itself that a study sorts runs by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dominance.deltas import Directions
from dominance.errors import BadOption

FACTS = ("benchmark", "method", "architecture")

_NO_MATTER = ("seed", "device", "threads", "tasks", *FACTS)
"""Options of a training that repeats may differ in, or that are looked at elsewhere."""


@dataclass(frozen=True)
class About:
    """The attributes of a run that a study uses; "" or None where it does not say.

    ``dominance train`` writes them all. Of another run ``seed`` is that of torch's generator. ``training`` has the
    other options that weights depend on, as text, by name.
    """

    benchmark: str
    method: str
    architecture: str
    seed: int | None
    tasks: tuple[str, ...]
    training: tuple[tuple[str, str], ...] = ()


def about(run: xr.DataTree) -> About:
    """What the run says of itself."""
    attrs = run.attrs
    training = attrs.get("training")
    seed = training.get("seed") if isinstance(training, Mapping) else attrs.get("seed")
    said = [str(attrs.get(fact) or "") for fact in FACTS]
    given = training if isinstance(training, Mapping) else {}
    options = tuple(sorted((name, str(value)) for name, value in _single(given).items() if name not in _NO_MATTER))
    tasks = tuple(map(str, attrs["tasks"]))
    return About(said[0], said[1], said[2], None if seed is None else int(seed), tasks, options)


def _single(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the benchmark and options of the method among the others; where a name is taken, it says of what."""
    found = {str(name): value for name, value in given.items() if not isinstance(value, Mapping)}
    for part, inside in given.items():
        for name, value in inside.items() if isinstance(inside, Mapping) else ():
            found[f"{part}.{name}" if name in found or name in _NO_MATTER else str(name)] = value
    return found


def coordinates(abouts: Iterable[About]) -> dict[str, Any]:
    """Coordinates along ``run`` for a result: benchmark, method, architecture (str) and seed (float, NaN unknown)."""
    known = list(abouts)
    found: dict[str, Any] = {fact: ("run", labels(getattr(one, fact) for one in known)) for fact in FACTS}
    found["seed"] = ("run", np.array([np.nan if one.seed is None else one.seed for one in known], dtype=np.float64))
    return found


def directions(run: xr.DataTree, given: Directions | None) -> dict[tuple[str, str], bool]:
    """(task, metric) -> whether higher is better, from the run's own declaration and from the argument.

    Raises:
        BadOption: the two contradict each other.
    """
    declared = run.attrs.get("metrics", {})
    found = {
        (str(task), str(metric)): way == "higher"
        for task, metrics in declared.items()
        for metric, way in metrics.items()
    }
    for task in run.attrs["tasks"]:
        for metric, higher in _given(given, str(task)).items():
            if found.setdefault((str(task), metric), higher) != higher:
                says = "higher" if found[str(task), metric] else "lower"
                raise BadOption(
                    f"higher_is_better says that {metric} of {task} is {'higher' if higher else 'lower'} the better,"
                    f" the run {run.attrs.get('path', '')} that it is {says}",
                    fix=f"leave {metric} out of higher_is_better",
                )
    return found


def _given(given: Directions | None, task: str) -> dict[str, bool]:
    """The argument for one task; what it says of the task itself goes before what it says of all."""
    if given is None:
        return {}
    everywhere = {name: bool(way) for name, way in given.items() if not isinstance(way, Mapping)}
    own = given.get(task, {})
    return everywhere | ({name: bool(way) for name, way in own.items()} if isinstance(own, Mapping) else {})


def labels(names: Iterable[str]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Names as a coordinate."""
    made = list(names)
    found = np.empty(len(made), dtype=object)
    found[:] = made
    return found
