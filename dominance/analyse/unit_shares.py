"""Whose a unit is: an expert, an attention head, a neuron, a row of an embedding; and who uses it, how often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.groups import By
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.ratio import ratio
from dominance.analyse.ownership import NOBODY
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import UsableSteps
from dominance.analyse.tiling import Blocks, over_tiles
from dominance.analyse.unit_sums import alone, stands_for, units_by
from dominance.analyse.units import Partition
from dominance.analyse.updates import au
from dominance.errors import BadOption
from dominance.unattributed import MOST_UNATTRIBUTED

Floats = NDArray[np.float64]
_GRADIENT = "gradient/gradient"


@over_runs
def unit_shares(
    run: PreparedRun,
    *,
    by: By = "expert",
    owns: float = 0.8,
    decay: float = 0.99,
    max_unattributed: float = MOST_UNATTRIBUTED,
    exact: bool = False,
) -> xr.Dataset:
    """Which task moves each unit, which task uses it, and in how many steps: of parts of layers, and across layers.

    ``ownership`` and ``rau_buckets`` take the same units, and say how many of their parameters a task owns, over
    training. Here a unit is one thing, and so a row of three sampled coordinates has a number, too: the tasks' shares
    of its squared updates, added up over its coordinates (AdaTask, Eq. 2-3, of a set of parameters):

        share_k = Σ_i AU(i, k) / Σ_k' Σ_i AU(i, k')

    What a task has of the gradients that go through a unit says whether its gate uses an expert: the gradient of an
    expert is that of the mixture times the gate's weight.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        by: the units:

            - "expert": the members of a list called ``experts``, and shared and own experts beside ``gates``, as those
              of MMoE, CGC and PLE
            - "head": attention heads, rows of the projections to queries, keys and values and columns of the one back,
              where the module says how many it has (torch's, and those of transformers and timm)
            - "neuron": outputs of linear and convolutional layers, with their biases
            - "row": rows of embeddings
            - a pattern of names, ``"experts.{expert}.*"``
            - ``Units``, one or several, whose parts of the same label are one unit
        owns: share from which on a unit has an owner, from 0.5 to below 1.
        decay, max_unattributed: as in ``au``.
        exact: AU of every coordinate, not of a sample, as in ``au``; ``use`` and ``frequency`` are of the sample.

    Returns:
        Along ``layer`` (the labels of the units) and ``task``:

        - ``share`` (layer, task): as above, at the last usable step; sums to 1 over tasks, NaN where no task moved it
        - ``owner`` (layer): the task with more than ``owns`` of it, "" for none
        - ``use`` (layer, task): the part of the task's squared gradient, over the steps, that goes through this unit;
          sums to 1 over the units
        - ``frequency`` (layer, task): the part of the recorded steps in which it has a gradient of the task that is
          not 0: how often a word, a user or an item was there. Of its coordinates that with the most counts
        - ``touched`` (layer): the part in which it has one of any task
        - ``sampled``, ``size`` (layer): how many of its parameters were kept, and how many there are

        ``attrs``: ``alone``, the task of each unit that the loss of one task alone reaches, and which is in nothing
        else here; ``units_left_out``, how many there are of which nothing was kept; and those of ``au``. Steps that
        were not recorded are in no frequency.

    Raises:
        BadOption: an option is out of range, no shared parameter fits, or one cannot be cut as is asked.
        NothingRecorded: no usable step, no shared parameter, or no such unit in the model.

    >>> from dominance import unit_shares
    >>> found = unit_shares(run, by="{layer}.weight", decay=0.5)
    >>> found.layer.values.tolist(), found.owner.values.tolist()
    (['trunk'], ['a'])
    >>> found.share.values.round(3), found.frequency.values  # AU 2.25 and 0.5; b has a gradient in one step of two
    (array([[0.818, 0.182]]), array([[1. , 0.5]]))
    """
    if not 0.5 <= owns < 1:
        raise BadOption(f"owns={owns} allows two owners, or none", fix="give a number from 0.5 to below 1")
    summed = au(run, by=by, decay=decay, max_unattributed=max_unattributed, exact=exact)
    share = ratio(summed["au"].transpose("task", "layer").to_numpy()).T
    of_sample = _seen(run, by, run.usable("additive", max_unattributed))
    labels = [str(label) for label in summed["layer"].values]
    use, frequency, touched = (each[of_sample.places(labels)] for each in of_sample.by_unit())
    tasks = np.array([*(str(task) for task in run.tasks), NOBODY], dtype=object)
    mine = np.where((share > owns).any(axis=1), share.argmax(axis=1), -1)
    return xr.Dataset(
        {
            "share": (("layer", "task"), share),
            "owner": ("layer", tasks[mine]),
            "use": (("layer", "task"), use),
            "frequency": (("layer", "task"), frequency),
            "touched": ("layer", touched),
            "sampled": summed["sampled"],
            "size": summed["size"],
        },
        coords={"layer": labels, "task": run.tasks, "step": summed["step"]},
        attrs={**summed.attrs, "owns": owns, "alone": alone(run, by)},
    )


def _seen(run: PreparedRun, by: By, steps: UsableSteps) -> _Seen:
    steps.require(run.tree)
    job = _Job(steps, int(run.sizes["task"]))
    found = over_tiles(run.tree, [_GRADIENT], job, wanted=run.shared)
    squares, counts = np.zeros((job.tasks, len(run.shared))), np.zeros((job.tasks + 1, len(run.shared)), np.int64)
    for tile, square, times in found:
        squares[:, tile], counts[:, tile] = square, times
    names, index = (run.of_coord(name)[run.shared] for name in ("parameter", "index"))
    count = len(steps.rows())
    return _Seen(names, squares[:, run.shared], counts[:, run.shared] / count, units_by(run, by, names, index))


@dataclass(frozen=True)
class _Seen:
    """What was seen of the gradients of the shared coordinates, and their units."""

    names: NDArray[np.str_]  # (coord,) parameter
    squares: Floats  # (task, coord) summed over steps
    often: Floats  # (task + 1, coord) part of the steps with a gradient that is not 0: of each task, and of any
    found: Partition

    def places(self, labels: list[str]) -> NDArray[np.int64]:
        """Where units stand in the results of ``by_unit``."""
        place = {label: i for i, label in enumerate(self.found.labels)}
        return np.array([place[label] for label in labels], dtype=np.int64)

    def by_unit(self) -> tuple[Floats, Floats, Floats]:
        """(unit, task) part of the task's squared gradient; (unit, task), (unit,) part of the steps."""
        count = len(self.found.labels)
        inside = np.flatnonzero(self.found.code >= 0)
        code, weight = self.found.code[inside], stands_for(self.found, self.names)[inside]
        kept = np.bincount(code, minlength=count) > 0
        squares = np.stack([np.bincount(code, row[inside] * weight, count) for row in self.squares], axis=1)
        most = np.zeros((count, len(self.often)))
        np.maximum.at(most, code, self.often[:, inside].T)
        with np.errstate(invalid="ignore"):
            use = squares / squares.sum(axis=0)
        use[~kept], most[~kept] = np.nan, np.nan
        return use, most[:, :-1], most[:, -1]


@dataclass(frozen=True)
class _Job:
    """One tile: its place, (task, coord) sums of squares, (task + 1, coord) numbers of steps."""

    steps: UsableSteps
    tasks: int

    def __call__(self, coords: slice, blocks: Blocks) -> tuple[slice, Floats, NDArray[np.int64]]:
        squares = np.zeros((self.tasks, coords.stop - coords.start))
        counts = np.zeros((self.tasks + 1, coords.stop - coords.start), dtype=np.int64)
        for rows, arrays in blocks:
            for i, row in enumerate(range(rows.start, rows.stop)):
                if self.steps.used[row]:
                    gradient = np.nan_to_num(arrays[_GRADIENT][i].astype(np.float64))  # a task that was absent has none
                    there = gradient != 0
                    squares += gradient * gradient
                    counts[:-1] += there
                    counts[-1] += there.any(axis=0)
        return coords, squares, counts
