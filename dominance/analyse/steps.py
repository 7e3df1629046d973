"""Which recorded steps an analysis of updates can use, and how many it had to leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.errors import NothingRecorded

_ROWS = 1024  # recorded steps of per-layer statistics that are read at once


@dataclass(frozen=True)
class UsableSteps:
    """The recorded steps of a run, sorted into those that are used and those that are left out.

    - ``superseded``: the run was resumed from a checkpoint older than this step, and went another way.
    - ``skipped``: gradients were computed and the optimizer took no step (an overflow under GradScaler).
    - ``not_understood``: a step was taken, and the recorder could not tell what it was made of.
    - ``non_finite``: the update of a task that took part is NaN or infinite somewhere in the shared layers.
    - ``unattributed``: more than ``max_unattributed`` of the squared step is momentum of gradients that nobody saw.

    Attributes:
        used: (step,) bool.
        absent: (step, task) bool: the task took no part in the step (its weight is NaN and that of another is not).
        left_out: number of steps by reason; a step counts once, under the first reason that holds.
        taken: how many steps the training took, recorded or not; 0 where that is not known.
        numbers: (step,) which steps of the training they are; increasing over the used ones. None: one after the other.
    """

    used: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    left_out: dict[str, int]
    max_unattributed: float
    taken: int = 0
    numbers: NDArray[np.int64] | None = None

    def gaps(self) -> NDArray[np.int64]:
        """(step,) of each used step, how many steps of the training lie between it and the used one before, itself
        counted; 1 for the first, 0 for those that are not used."""
        rows = self.rows()
        found = np.zeros(len(self.used), np.int64)
        found[rows[:1]] = 1
        found[rows[1:]] = np.diff(rows if self.numbers is None else self.numbers[rows])
        return found

    def rows(self) -> NDArray[np.int64]:
        """Indices of the used steps."""
        return np.flatnonzero(self.used).astype(np.int64)

    def without(self, rows: Sequence[int]) -> UsableSteps:
        """The same, less steps that turned out to be non-finite when their values were read."""
        used = self.used.copy()
        used[list(rows)] = False
        left_out = dict(self.left_out)
        left_out["non_finite"] += int(self.used.sum() - used.sum())
        return replace(self, used=used, left_out=left_out)

    def attributes(self) -> dict[str, Any]:
        """For the attributes of a result."""
        return {
            "steps_taken": self.taken,
            "steps_recorded": len(self.used),
            "steps_used": int(self.used.sum()),
            **{f"left_out_{reason}": number for reason, number in self.left_out.items()},
            "max_unattributed": self.max_unattributed,
        }

    def require(self, run: xr.DataTree) -> None:
        """Raises NothingRecorded when no step is left."""
        if self.used.any():
            return
        where = run.attrs.get("path", "run")
        if not len(self.used):
            raise NothingRecorded(f"{where}: no step was recorded", fix="let the training take at least one step")
        counted = {reason.replace("_", "-"): number for reason, number in self.left_out.items() if number}
        reasons = ", ".join(f"{number} {reason}" for reason, number in counted.items())
        fix = "record with `--every 1`, or longer bursts (`--burst`)" if self.left_out["unattributed"] else ""
        if self.left_out["non_finite"]:
            fix = "the training diverged: lower the learning rate or clip the gradients"
            if totals_finite(run).any():
                fix = "the training itself is finite, its tasks' updates are not known: see `dominance info`"
        raise NothingRecorded(f"{where}: none of {len(self.used)} recorded steps can be used ({reasons})", fix=fix)


def sort_steps(
    reasons: Mapping[str, NDArray[np.bool_]],
    absent: NDArray[np.bool_],
    max_unattributed: float,
    taken: int = 0,
    numbers: NDArray[np.int64] | None = None,
) -> UsableSteps:
    """The steps by the first reason that holds, (step,) each; the others as in ``UsableSteps``."""
    used = np.ones(len(absent), dtype=bool)
    left_out = {}
    for reason, holds in reasons.items():
        left_out[reason] = int((used & holds).sum())
        used &= ~holds
    return UsableSteps(used, absent, left_out, max_unattributed, taken, numbers)


def absent_tasks(run: xr.DataTree) -> NDArray[np.bool_]:
    """(step, task) which tasks took no part in a step: no weight, while another has one.

    Where no task has a weight (methods that bend gradients have none to tell) nobody is known to be absent, but for a
    task that had not been seen yet.
    """
    missing = np.isnan(run["loss/weight"].to_numpy())
    first = dict(zip(run.attrs["tasks"], run.attrs.get("task_since", ()), strict=False))
    since = [first.get(task, 0) for task in run["task"].to_numpy().tolist()]
    unseen = (np.arange(len(missing))[:, None] < np.array(since)) & np.isnan(run["loss/loss"].to_numpy())
    return np.asarray(missing & (~missing.all(axis=1, keepdims=True) | unseen))


def steps_taken(run: xr.DataTree) -> int:
    """How many steps the training took, recorded or not; 0 where that is not known."""
    return int(run.attrs.get("steps_taken") or 0)


def totals_finite(run: xr.DataTree) -> NDArray[np.bool_]:
    """(step,) whether what the optimizer was fed and what it did to the parameters is finite in every layer."""
    table = run["layer"].to_dataset()[["total_gradient_sq", "total_update_sq"]]
    found = np.empty(run.sizes["step"], dtype=bool)
    for rows in blocks(run.sizes["step"]):
        part = table.isel(step=rows)
        found[rows] = np.all([np.isfinite(part[name].to_numpy()).all(axis=1) for name in part.data_vars], axis=0)
    return found


def superseded(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that a later row of the same or an earlier training step overrules; the others increase strictly.

    >>> superseded(np.array([0, 1, 2, 3, 2, 3, 4])).astype(int)
    array([0, 0, 1, 1, 0, 0, 0])
    """
    lowest_after = np.minimum.accumulate(numbers[::-1])[::-1][1:]
    return np.append(numbers[:-1] >= lowest_after, np.zeros(min(1, len(numbers)), dtype=bool))


def blocks(count: int) -> Iterator[slice]:
    """The steps of a run, some at a time."""
    return (slice(start, min(start + _ROWS, count)) for start in range(0, count, _ROWS))
