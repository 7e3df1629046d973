"""Runs that differ in their seeds alone, on two sides of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels import t_test
from dominance.analyse.kernels.t_test import Difference
from dominance.analyse.study.about import FACTS, about
from dominance.errors import BadOption

Floats = NDArray[np.float64]


def partners(ours: Sequence[int | None], theirs: Sequence[int | None]) -> NDArray[np.int64] | None:
    """For each of our runs the place of theirs with the same seed; None unless both sides have the same seeds once.

    >>> partners([0, 1, 2], [2, 0, 1])
    array([1, 2, 0])
    >>> partners([0, 1], [0, 2]) is None, partners([0, 0], [0, 0]) is None
    (True, True)
    """
    if None in ours or len(set(ours)) < len(ours) or len(theirs) != len(ours) or set(ours) != set(theirs):
        return None
    return np.array([list(theirs).index(seed) for seed in ours], dtype=np.int64)


def difference(ours: Floats, theirs: Floats, order: NDArray[np.int64] | None) -> Difference:
    """Mean of ours less mean of theirs: over pairs where there is an order, else Welch's. NaN values are left out."""
    if order is not None:
        pairs = ours - theirs[order]
        return t_test.mean(pairs[~np.isnan(pairs)])
    return t_test.welch(ours[~np.isnan(ours)], theirs[~np.isnan(theirs)])


def require_repeats(runs: Mapping[str, xr.DataTree], what: str) -> None:
    """Raises BadOption when the runs differ in more than their seeds: a mean over them would mean nothing."""
    known = {name: about(run) for name, run in runs.items()}
    facts: dict[str, dict[str, object]] = {
        fact: {name: getattr(said, fact) for name, said in known.items()} for fact in FACTS
    }
    # By name: a task whose first loss comes late stands last.
    facts["tasks"] = {name: tuple(sorted(said.tasks)) for name, said in known.items()}
    for option in sorted({option for said in known.values() for option, _ in said.training}):
        facts[option] = {name: dict(said.training).get(option, "") for name, said in known.items()}
    for fact, found in facts.items():
        if len(set(found.values())) > 1:
            (one, ours), (other, theirs) = next(iter(found.items())), _unlike(found)
            raise BadOption(
                f"{what}: the runs differ in their {fact}: {_said(ours)} in {one}, {_said(theirs)} in {other}",
                fix="give runs that differ in their seeds alone, one group at a time",
            )


def _unlike(found: Mapping[str, object]) -> tuple[str, object]:
    first = next(iter(found.values()))
    return next((name, value) for name, value in found.items() if value != first)


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) or "unknown"
