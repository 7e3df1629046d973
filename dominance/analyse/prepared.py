"""A run as the analysers take it: what several of them ask of it is read and resolved once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.groups import Strata, strata
from dominance.analyse.runs import Runs, only_run
from dominance.analyse.steps import UsableSteps, absent_tasks, blocks, sort_steps, steps_taken, superseded
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import NOT_UNDERSTOOD, SKIPPED
from dominance.unattributed import MOST_UNATTRIBUTED, unattributed_share

PATHS = {"additive": "update/update", "solo": "update/solo"}
"""Attribution -> where a run has its updates."""

BOTH = "both"
_STATISTIC = {"additive": "update_sq", "solo": "solo_sq"}


class PreparedRun:
    """One run, which is asked as its tree is; and what is resolved of it, each when it is first asked for.

    Args:
        tree: one run; what is asked of it twice must not change in between.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self.tree = tree
        self.attrs, self.sizes, self.dims = tree.attrs, tree.sizes, tree.dims
        self.children = tree.children
        self._of_coord: dict[str, NDArray[Any]] = {}
        self._usable: dict[tuple[str, float], UsableSteps] = {}

    def __getitem__(self, name: str) -> Any:
        return self.tree[name]

    @property
    def where(self) -> str:
        """What a message calls the run."""
        return str(self.attrs.get("path", "run"))

    @property
    def layers(self) -> list[str]:
        """All layers, in order."""
        return list(self.attrs["layers"])

    @property
    def attribution(self) -> str:
        """The attribution to look at where nothing is said: "additive" if the run has it."""
        return "solo" if self.attrs.get("attribution") == "solo" else "additive"

    @cached_property
    def tasks(self) -> NDArray[Any]:
        """(task,) names."""
        return np.asarray(self["task"].to_numpy())

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """(step,) numbers of the recorded training steps."""
        return np.asarray(self["step"].to_numpy())

    @cached_property
    def superseded(self) -> NDArray[np.bool_]:
        """(step,) whether a later row overrules it."""
        return superseded(self.numbers)

    @cached_property
    def skipped(self) -> NDArray[np.int8]:
        """(step,) 0, or why it is no step to look at; see ``schema``."""
        return np.asarray(self["skipped"].to_numpy())

    @cached_property
    def absent(self) -> NDArray[np.bool_]:
        """(step, task) which tasks took no part."""
        return absent_tasks(self.tree)

    def of_coord(self, name: str) -> NDArray[Any]:
        """(coord,) such as "parameter", "coord_layer", "index" or "coord_weight"."""
        if name not in self._of_coord:
            self._of_coord[name] = np.asarray(self[name].to_numpy())
        return self._of_coord[name]

    @cached_property
    def shared(self) -> NDArray[np.bool_]:
        """(coord,) which coordinates belong to a parameter that two tasks reach.

        Raises:
            NothingRecorded: none does.
        """
        shared = np.asarray(self["shared"].to_numpy(), dtype=bool)
        if not shared.any():
            tasks = self.attrs.get("tasks", ())
            if "training" in self.attrs and len(tasks) == 1:
                raise NothingRecorded(f"{self.where}: has one task, {tasks[0]}, and so no shared parameter")
            raise self._unshared("parameter")
        return shared

    @cached_property
    def shared_layers(self) -> NDArray[np.int64]:
        """Places of the layers with a parameter that two tasks reach.

        Raises:
            NothingRecorded: no step, or no such layer.
        """
        self.require_steps()
        shared = np.flatnonzero(self["layer/shared"].to_numpy())
        if not len(shared):
            raise self._unshared("layer")
        return shared.astype(np.int64)

    @cached_property
    def strata(self) -> Strata:
        """The shared coordinates, by parameter and rate of sampling. Raises NothingRecorded as ``shared``."""
        return strata(self.tree, self.shared)

    def require_steps(self) -> None:
        """Raises NothingRecorded when no step was recorded."""
        if not self.sizes.get("step", 0):
            raise NothingRecorded(f"{self.where}: no step was recorded", fix="let the training take at least one step")

    def attributions(self, asked: str) -> tuple[str, ...]:
        """The attributions that are meant: one, or both.

        Raises:
            BadOption: no such attribution.
            NothingRecorded: the run was recorded without it.
        """
        if asked not in (*PATHS, BOTH):
            raise BadOption(f"attribution {asked!r} is unknown", fix="choose from additive, solo, both")
        recorded = self.attrs.get("attribution", "additive")
        if recorded not in (asked, BOTH):
            raise NothingRecorded(
                f"{self.where}: recorded with attribution {recorded}, not {asked}",
                fix=f'say attribution="{recorded}", or record with `--attribution {asked}`',
            )
        return tuple(PATHS) if asked == BOTH else (asked,)

    def usable(self, attribution: str = "additive", max_unattributed: float = MOST_UNATTRIBUTED) -> UsableSteps:
        """Sort the steps by the exact per-layer statistics of the shared layers.

        What share of a step is unattributed says ``unattributed_share``, over the shared layers; a solo update has no
        unattributed part.

        Args:
            attribution: "additive", "solo", or "both": the steps that each of them can use, so that they are compared
                over the same ones.
            max_unattributed: between 0 and 1; a step with a larger share is left out.

        Raises:
            BadOption: an option is out of range.
            NothingRecorded: the run has no such updates.
        """
        if not 0 <= max_unattributed <= 1:
            raise BadOption(f"max_unattributed={max_unattributed} is no share", fix="give a number from 0 to 1")
        first, *others = (self._usable_of(each, max_unattributed) for each in self.attributions(attribution))
        for other in others:  # a solo update has no unattributed part: all that it can lack is a finite value
            first = first.without(np.flatnonzero(first.used & ~other.used).tolist())
        return first

    def reasons(self, finite: NDArray[np.bool_], unattributed: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
        """Why a step is left out, (step,) each, in the order in which they count; see ``UsableSteps``."""
        return {
            "superseded": self.superseded,
            "skipped": self.skipped == SKIPPED,
            "not_understood": self.skipped == NOT_UNDERSTOOD,
            "non_finite": ~finite,
            "unattributed": unattributed,
        }

    def _usable_of(self, attribution: str, max_unattributed: float) -> UsableSteps:
        if (attribution, max_unattributed) not in self._usable:
            finite, unattributed = self._finite_and_unattributed(attribution)
            reasons = self.reasons(finite, unattributed > max_unattributed)
            found = sort_steps(reasons, self.absent, max_unattributed, steps_taken(self.tree), self.numbers)
            self._usable[attribution, max_unattributed] = found
        return self._usable[attribution, max_unattributed]

    def _finite_and_unattributed(self, attribution: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """(step,) whether the updates are finite, and the share of unattributed momentum."""
        table = self["layer"].to_dataset()
        chosen = np.flatnonzero(table["shared"].to_numpy())
        finite = np.empty(len(self.numbers), dtype=bool)
        unattributed = np.zeros(len(self.numbers))
        for rows in blocks(len(self.numbers)):
            part = table.isel(step=rows, layer=chosen)
            squares = part[_STATISTIC[attribution]].to_numpy()  # (step, layer, task)
            finite[rows] = (np.isfinite(squares) | (self.absent[rows, None, :] & np.isnan(squares))).all(axis=(1, 2))
            if attribution == "additive":
                of_total = [part[f"{name}_sq"].to_numpy() for name in ("unattributed", "residual")]
                unattributed[rows] = unattributed_share(of_total[0], squares, of_total[1])
        return finite, unattributed

    def _unshared(self, what: str) -> NothingRecorded:
        return NothingRecorded(
            f"{self.where}: no {what} is reached by two tasks",
            fix="name the tasks with dominance.observe({...}) before backward()",
        )


def prepare(run: Runs | PreparedRun) -> PreparedRun:
    """The run, prepared unless it is already.

    Raises:
        BadOption: several runs, or none.
    """
    return run if isinstance(run, PreparedRun) else PreparedRun(only_run(run))
