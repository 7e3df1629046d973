"""Which task moves the shared parameters: AU, rAU and their buckets (AdaTask, Eq. 2-3 and Fig. 2).

Three decisions that the paper leaves open hold for all functions here:

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
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.averages import Visit, averages
from dominance.analyse.counting import Counter, ScatteredCounter, shares
from dominance.analyse.exact_averages import exact_averages, exact_buckets, exact_ratio
from dominance.analyse.groups import By, grouped
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.lengths import RunLengths
from dominance.analyse.prepared import BOTH, PreparedRun, prepare
from dominance.analyse.steps import UsableSteps
from dominance.analyse.tiling import DEFAULT, TilePlan
from dominance.analyse.unit_sums import add_up, as_ratio
from dominance.errors import BadOption
from dominance.unattributed import MOST_UNATTRIBUTED

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The paper's five buckets."""


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


@over_runs
def rau_buckets(
    run: PreparedRun,
    *,
    edges: Sequence[float] = EDGES,
    by: By = "layer",
    decay: float = 0.99,
    attribution: str = "additive",
    points: int = 200,
    max_unattributed: float = MOST_UNATTRIBUTED,
    exact: bool = False,
) -> xr.Dataset:
    """How many of the shared coordinates each task moves to what extent, over training (AdaTask, Fig. 2).

    A coordinate is in the bucket (lo, hi] of a task when the task's rAU lies there; rAU = 0 belongs to the first one. A
    coordinate that no task has moved yet is *untouched*: in no bucket, and not in the denominator of the shares.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        edges: of the buckets, increasing from 0 to 1.
        by: what a group is: "layer", "parameter", "all" (the whole trunk, one group), "kind" (embeddings apart from
            linear layers and the others: AdaTask, Fig. 5-6), a list of globs, a mapping from labels to globs, as
            ``{"embedding": "emb*", "mlp": ["trunk.*", "deep.*"]}``, or a mapping or function from the name of a
            parameter to the label of its group (None: leave it out). A glob is for the name of a parameter or of the
            module that owns it. Or units, which may be parts of parameters: "expert", "head", "neuron", "row" (of
            embeddings), a pattern as ``"experts.{expert}.*"``, or ``Units``; see ``unit_shares``.
        decay, attribution, max_unattributed: as in :func:`au`.
        points: steps at which to count: this many of the usable ones, evenly spread, the last included.
        exact: count every shared coordinate, not a sample, at the last usable step only; as in :func:`au`.

    Returns:
        Along ``step`` (numbers of training steps), ``layer`` (the groups) and ``task``:

        - ``share`` (step, layer, task, bucket): of the touched coordinates; sums to 1 over buckets. NaN where none is.
        - ``share_se``: its standard error from sampling coordinates, stratified by parameter; 0 if all were kept.
        - ``untouched`` (step, layer): of all shared coordinates of the group.
        - ``effective_tasks`` (step, layer): mean over the touched coordinates of exp(entropy of rAU over tasks): 1
          where each has one task that moves it, K where all move it alike.

        ``bucket`` is labelled in per cent, with numeric ``lower`` and ``upper``. Every coordinate counts for as many as
        it was sampled to stand for. The attribute ``parameters_left_out`` says how many are in no group.

    Raises:
        BadOption, NothingRecorded: as :func:`au`.

    >>> from dominance import rau_buckets
    >>> found = rau_buckets(run, decay=0.5)
    >>> found.bucket.values.tolist()
    ['[0, 20]', '(20, 40]', '(40, 60]', '(60, 80]', '(80, 100]']
    >>> found.share.sel(step=1, layer="trunk").values
    array([[0., 0., 0., 0., 1.],
           [1., 0., 0., 0., 0.]])
    >>> found.effective_tasks.sel(layer="trunk").values.round(2)
    array([1.  , 1.61])
    """
    if exact:
        averaged = exact_averages(run, decay=decay, attribution=attribution, max_unattributed=max_unattributed)
        return exact_buckets(run, averaged, by, _checked_edges(edges))
    (found,) = bucket_tables(
        run, [by], edges=edges, decay=decay, attribution=attribution, points=points, max_unattributed=max_unattributed
    )
    return found


def bucket_tables(
    run: xr.DataTree | PreparedRun,
    bys: Sequence[By],
    *,
    edges: Sequence[float] = EDGES,
    decay: float = 0.99,
    attribution: str = "additive",
    points: int = 200,
    max_unattributed: float = MOST_UNATTRIBUTED,
    plan: TilePlan = DEFAULT,
) -> list[xr.Dataset]:
    """:func:`rau_buckets` for several groupings at the price of one: the run is read once."""
    edges = _checked_edges(edges)
    if points < 1:
        raise BadOption(f"points={points} counts nothing", fix="give 1 or more")
    run = prepare(run)
    chosen = run.attributions(attribution)
    of = run.strata, run.shared, run.of_coord("parameter"), run.of_coord("index")
    found_by = [grouped(by, run, *of) for by in bys]
    if len(bys) > 1 and any(parts.scattered for parts, _, _ in found_by):  # each of these has strata of its own
        options: Any = {"edges": edges, "decay": decay, "attribution": attribution, "points": points, "plan": plan}
        options["max_unattributed"] = max_unattributed
        return [table for by in bys for table in bucket_tables(run, [by], **options)]
    parts, groups = found_by[0][0], [each[1:] for each in found_by]
    counter = (ScatteredCounter if parts.scattered else Counter)(parts.code, edges, run.sizes["task"])
    steps = run.usable(attribution, max_unattributed)

    def choose(steps: UsableSteps) -> NDArray[np.int64]:
        rows = steps.rows()
        back = np.linspace(len(rows) - 1, 0, min(points, len(rows))).round()  # backwards: one point is the last step
        return rows[np.unique(back.astype(np.int64))]

    found = averages(run, chosen, steps, choose, counter, decay=decay, for_ratio=True, plan=plan)
    attrs = found.steps.attributes() | {
        "decay": decay,
        "attribution": attribution,
        "coords_sampled": int(parts.sampled.sum()),
        "coords_shared": round(float(parts.population.sum())),
    }
    counted = counter.totals(found.rooms, found.tiles, len(parts.sampled))
    tables = []
    for by, (labels, group_of) in zip(bys, groups, strict=True):
        each = [shares(run, run.numbers[found.points], total, parts, labels, group_of, edges) for total in counted]
        about = {"by": by if isinstance(by, str) else "custom", "parameters_left_out": parts.outside(group_of)}
        tables.append(_side_by_side(each, chosen, attribution).assign_attrs(attrs | about))
    return tables


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
    return _side_by_side([xr.Dataset({name: (dims, part)}, coords) for part in data], parts, attribution).assign_attrs(
        attrs
    )


def _side_by_side(found: list[xr.Dataset], parts: Sequence[str], attribution: str) -> xr.Dataset:
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


def _checked_edges(edges: Sequence[float]) -> tuple[float, ...]:
    chosen = tuple(float(edge) for edge in edges)
    if len(chosen) < 2 or chosen[0] != 0 or chosen[-1] != 1 or any(a >= b for a, b in pairwise(chosen)):
        raise BadOption(f"edges={chosen} are no buckets", fix="give increasing numbers from 0 to 1")
    return chosen
