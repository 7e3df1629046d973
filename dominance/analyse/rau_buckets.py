"""How many shared coordinates each task moves to what extent, over training: rAU in buckets (AdaTask, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.averages import averages
from dominance.analyse.counting import Counter, ScatteredCounter, shares
from dominance.analyse.exact_averages import exact_averages, exact_buckets
from dominance.analyse.groups import By, grouped
from dominance.analyse.joining import over_runs
from dominance.analyse.prepared import PreparedRun, prepare
from dominance.analyse.steps import UsableSteps
from dominance.analyse.tiling import DEFAULT, TilePlan
from dominance.analyse.updates import side_by_side
from dominance.errors import BadOption
from dominance.unattributed import MOST_UNATTRIBUTED

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The paper's five buckets."""


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
        tables.append(side_by_side(each, chosen, attribution).assign_attrs(attrs | about))
    return tables


def _checked_edges(edges: Sequence[float]) -> tuple[float, ...]:
    chosen = tuple(float(edge) for edge in edges)
    if len(chosen) < 2 or chosen[0] != 0 or chosen[-1] != 1 or any(a >= b for a, b in pairwise(chosen)):
        raise BadOption(f"edges={chosen} are no buckets", fix="give increasing numbers from 0 to 1")
    return chosen
