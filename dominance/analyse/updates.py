"""Which task moves the shared parameters: AU and rAU (AdaTask, Eq. 2-3).

Three decisions that the paper leaves open hold for all functions here, and for ``rau_buckets``:

- The average decays with every step of the training, recorded or not: what it says of a step does not depend on how
  many were recorded before. AU is divided by the share of the weights that the recorded steps have. With ``every=1``
  this is Eq. 2 to the letter.
- A step is left out, as if it had not been recorded, when the optimizer skipped it, when the update of a task that took
  part is NaN or infinite, or when more than ``max_unattributed`` of the squared step is momentum of gradients that
  nobody saw. The attributes of each result say how many were left out, by reason.
- A task that took no part in a step (its loss was not computed) has update 0 there, and its average decays.

Only shared parameters are looked at: those that the losses of two or more tasks reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.averages import Visit, averages
from dominance.analyse.exact_averages import exact_averages, exact_ratio
from dominance.analyse.groups import By
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.lengths import RunLengths
from dominance.analyse.prepared import BOTH, PreparedRun
from dominance.analyse.tiling import DEFAULT, TilePlan
from dominance.analyse.unit_sums import add_up, as_ratio
from dominance.errors import BadOption
from dominance.unattributed import MOST_UNATTRIBUTED


@over_runs
def au(
    run: PreparedRun,
    *,
    by: By | None = None,
    decay: float = 0.99,
    attribution: str = "additive",
    at: Sequence[int] | int | None = None,
    max_unattributed: float = MOST_UNATTRIBUTED,
    exact: bool = False,
) -> xr.Dataset:
    """Exponentially decaying average of the squared updates of every shared coordinate (AdaTask, Eq. 2).

    AU(i, t, k) = γ AU(i, t-1, k) + (1 - γ) (Δ_i^k)², from AU = 0.

    Args:
        run: a run, from ``open_run``; or several that keep the same coordinates (see ``runs_of``).
        by: units, such as "head" or ``"experts.{expert}.*"``, see ``unit_shares``: AU added up over each of them.
        decay: γ, between 0 and 1.
        attribution: which update of a task is meant: "additive" or "solo"; or "both", side by side along a leading dim
            ``attribution``, over the steps that both can use.
        at: numbers of recorded training steps at which to give it; default the last usable one.
        max_unattributed: a step with a larger share of unattributed momentum is left out.
        exact: of every shared coordinate, not of a sample: kept by ``record --averages`` and ``--probe noise``, for the
            last usable step and with the other options as they are by default.

    Returns:
        ``au`` (task, coord), or (step, task, coord) with ``at``; float64, in squared units of the parameters. ``coord``
        holds the shared coordinates that were kept, with ``parameter``, ``coord_layer``, ``index``, ``coord_weight``.
        With ``by`` the last dim is ``layer``, the units, and ``sampled``, ``size`` (layer) are their parameters.

    Raises:
        BadOption: an option is out of range, or a step in ``at`` was not recorded.
        NothingRecorded: no usable step, no shared parameter, or no such attribution in the run.

    >>> from dominance import au
    >>> au(run, decay=0.5).au.values  # one coordinate, moved by (1, 0), then by (2, 1)
    array([[2.25],
           [0.5 ]])
    """
    if exact:
        found = exact_averages(run, decay=decay, attribution=attribution, at=at, max_unattributed=max_unattributed)
    else:
        found = _per_coord(run, "au", decay, attribution, at, max_unattributed)
    return found if by is None else add_up(run, by, found)


@over_runs
def rau(
    run: PreparedRun,
    *,
    by: By | None = None,
    decay: float = 0.99,
    attribution: str = "additive",
    at: Sequence[int] | int | None = None,
    max_unattributed: float = MOST_UNATTRIBUTED,
    exact: bool = False,
) -> xr.Dataset:
    """Each task's share of AU at every shared coordinate (AdaTask, Eq. 3).

    rAU(i, t, k) = AU(i, t, k) / Σ_k' AU(i, t, k'). Sums to 1 over tasks; NaN where no task has moved the coordinate.

    Args, Raises: as :func:`au`.

    Returns:
        ``rau`` (task, coord), or (step, task, coord) with ``at``; float64 in [0, 1]. With ``by`` it is of the sums over
        a unit, (task, layer).

    >>> from dominance import rau
    >>> rau(run, decay=0.5, at=[0, 1]).rau.values.round(3)
    array([[[1.   ],
            [0.   ]],
    <BLANKLINE>
           [[0.818],
            [0.182]]])
    """
    if by is not None:
        options: Any = {"decay": decay, "attribution": attribution, "at": at, "max_unattributed": max_unattributed}
        return as_ratio(au(run, by=by, exact=exact, **options))
    if exact:
        found = exact_averages(run, decay=decay, attribution=attribution, at=at, max_unattributed=max_unattributed)
        return exact_ratio(found)
    return _per_coord(run, "rau", decay, attribution, at, max_unattributed)


@dataclass(frozen=True)
class _PerCoord:
    """Visitor that keeps the average or the ratio of every shared coordinate: (attribution, point, task, coord)."""

    name: str
    decay: float
    shared: RunLengths
    tasks: int

    def room(self, tile: slice, parts: int, points: int) -> NDArray[np.float64]:
        return np.empty((parts, points, self.tasks, self._count(tile)))

    def visit(self, state: Visit, room: NDArray[np.float64]) -> None:
        sums = state.sums[:, self.shared.expand(state.coords)]
        first = self._count(slice(state.tile.start, state.coords.start))
        values = ratio(sums) if self.name == "rau" else (1 - self.decay) / state.seen * sums
        room[state.part, state.point, :, first : first + sums.shape[1]] = values

    def _count(self, coords: slice) -> int:
        return int(self.shared.expand(coords).sum()) if coords.stop > coords.start else 0


def _per_coord(
    run: PreparedRun,
    name: str,
    decay: float,
    attribution: str,
    at: Sequence[int] | int | None,
    max_unattributed: float,
    plan: TilePlan = DEFAULT,
) -> xr.Dataset:
    parts, numbers = run.attributions(attribution), run.numbers
    rows = None if at is None else _rows_of(numbers, np.atleast_1d(np.asarray(at, dtype=np.int64)))
    wanted = np.unique(rows) if rows is not None else None
    found = averages(
        run,
        parts,
        run.usable(attribution, max_unattributed),
        lambda steps: steps.rows()[-1:] if wanted is None else wanted,
        _PerCoord(name, decay, RunLengths(run.shared), run.sizes["task"]),
        decay=decay,
        for_ratio=name == "rau",
        plan=plan,
    )
    coords: dict[str, Any] = {"task": run.tasks}
    for key in ("parameter", "coord_layer", "index", "coord_weight"):
        coords[key] = ("coord", run.of_coord(key)[run.shared])
    values = np.concatenate(found.rooms, axis=-1)
    if rows is None or wanted is None:
        dims: tuple[str, ...] = ("task", "coord")
        data, coords["step"] = values[:, 0], numbers[found.points[0]]
    else:
        dims = ("step", "task", "coord")
        data, coords["step"] = values[:, np.searchsorted(wanted, rows)], numbers[rows]
    attrs = found.steps.attributes() | {"decay": decay, "attribution": attribution}
    return side_by_side([xr.Dataset({name: (dims, part)}, coords) for part in data], parts, attribution).assign_attrs(
        attrs
    )


def side_by_side(found: list[xr.Dataset], parts: Sequence[str], attribution: str) -> xr.Dataset:
    """The result, or with "both" the results along a leading dim ``attribution``."""
    if attribution != BOTH:
        return found[0]
    return xr.concat(
        found, xr.Variable("attribution", np.array(parts, dtype=object)), data_vars="all", coords="minimal"
    )


def _rows_of(numbers: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
    last = {int(number): row for row, number in enumerate(numbers)}  # of a step recorded twice, the later row counts
    for number in at:
        if int(number) not in last:
            near = numbers[np.abs(numbers - number).argmin()] if len(numbers) else "none"
            raise BadOption(f"at: step {number} was not recorded", fix=f"the nearest recorded one is {near}")
    return np.array([last[int(number)] for number in at], dtype=np.int64)
