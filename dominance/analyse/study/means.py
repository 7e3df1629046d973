"""The runs of a listing with the same settings, taken together: means over their seeds. Nothing here loads xarray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dominance.analyse.kernels import t_test
from dominance.analyse.study.listing import ListedRun, Listing
from dominance.errors import BadOption

SEED = "seed"


@dataclass(frozen=True)
class Mean:
    """A mean over runs.

    Attributes:
        mean: NaN with none.
        half: half of its 95 % interval (Student's t); NaN with one.
        n: how many runs have a finite value.
    """

    mean: float
    half: float
    n: int


@dataclass(frozen=True)
class Cell:
    """Runs with the same settings.

    Attributes:
        chosen: what they have of the settings that are shown; None for one that they lack.
        runs: all of them.
        scores: (task, metric) -> mean over those that are complete.
    """

    chosen: tuple[Any, ...]
    runs: list[ListedRun]
    scores: dict[tuple[str, str], Mean]

    @property
    def complete(self) -> int:
        """How many are complete: these are averaged, and no others."""
        return sum(run.state == "complete" for run in self.runs)


def scores_of(run: ListedRun, split: str) -> dict[tuple[str, str], float]:
    """(task, metric) -> what was logged last under a split; without a split the losses, as the metric "loss"."""
    if not split:
        return {(task, "loss"): value for task, value in run.losses.items()}
    return {(task, name): value for (of, task, name), value in run.metrics.items() if of == split}


def cells(found: Listing, split: str, over: Sequence[str] = (SEED,)) -> tuple[list[str], list[Cell]]:
    """The settings that are left, and the runs that share them, in the order of the runs.

    Args:
        found: the listing; jobs that have left no run belong to no cell.
        split: as in :func:`scores_of`.
        over: names of settings over which to take means; without "seed" it is one of the settings.

    Raises:
        BadOption: a name that is no setting of these runs, or does not differ.
    """
    known = [*found.names, SEED]
    if unknown := [name for name in over if name not in known]:
        raise BadOption(f"--over {unknown[0]}: the runs do not differ in it", fix=f"choose from {', '.join(known)}")
    names = [name for name in known if name not in over]
    inside: dict[tuple[Any, ...], list[ListedRun]] = {}
    for run in found.there:
        chosen = found.chosen(run, [name for name in names if name != SEED])
        inside.setdefault((*chosen, run.seed) if SEED in names else chosen, []).append(run)
    return names, [Cell(chosen, runs, _means(runs, split)) for chosen, runs in inside.items()]


def _means(runs: Sequence[ListedRun], split: str) -> dict[tuple[str, str], Mean]:
    values: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run.state == "complete":
            for key, value in scores_of(run, split).items():
                values.setdefault(key, []).append(value)
    found = {}
    for key, each in values.items():
        known = np.array([value for value in each if math.isfinite(value)])
        mean = t_test.mean(known)
        low, high = mean.interval(0.95)
        found[key] = Mean(mean.value, (high - low) / 2, len(known))
    return found
