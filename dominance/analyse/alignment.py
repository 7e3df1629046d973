"""How far the update follows the gradient, on shared and on task-specific parameters (PUB, Section III)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.grams import ByLayer, groups_of
from dominance.analyse.joining import over_runs
from dominance.analyse.kernels.alignment import diff, similarity
from dominance.analyse.kernels.batch_means import batch_means
from dominance.analyse.prepared import PreparedRun
from dominance.analyse.steps import blocks, steps_taken
from dominance.errors import BadOption, NothingRecorded

Floats = NDArray[np.float64]

_STATISTICS = ("total_gradient_sq", "total_update_sq", "total_gradient_dot_update")


@over_runs
def alignment(run: PreparedRun, *, by: ByLayer = "layer", warmup: int = 0) -> xr.Dataset:
    """Cosine similarity of gradient and update on task-specific and shared parameters (PUB, Eq. 1, Table I, Fig. 3).

    Sim is the cosine of the gradient that the optimizer was fed and the descent direction -Δθ that it took, so that a
    step of plain SGD has Sim = 1, and the first step of Adam, the sign of the gradient, |g|_1 / (√n |g|_2). The
    parameters of a kind are one vector, over all their coordinates, sampled or not. The update is what was really
    done to the parameters: with momentum, weight decay and clipping.

        Diff = 2 |Sim_task - Sim_share| / |Sim_task + Sim_share|

    The paper collects the similarities at every step, and reports one average and one Diff for a training. Read here as
    Diff of the average similarities: ``diff_of_means`` is the number to compare trainings by. ``mean_diff``, the
    average of the steps' Diff, is given beside it; steps whose two similarities nearly cancel decide it.

    Args:
        run: a run, from ``open_run``; or several (see ``runs_of``).
        by: what ``sim`` is given for: "layer", "all" (shared or not, together), a list of globs, or a mapping from
            labels to globs of layers.
        warmup: number of training steps at the beginning that the means ``..._after_warmup`` leave out.

    Returns:
        A layer with a parameter that two tasks reach is shared, the others that a task reaches are task-specific:

        - ``sim_task``, ``sim_shared``, ``diff`` (step): NaN where nothing moved or has a gradient, and at steps that
          the optimizer skipped
        - ``sim_task_of`` (step, task): on the layers that this task alone reaches
        - ``sim`` (step, layer): of each layer or group, with the coordinate ``shared`` (layer)
        - ``mean_sim_task``, ``mean_sim_shared``, ``mean_diff``: over steps; ``diff_of_means``: Eq. 1 of the first two.
          All four again as ``..._after_warmup``; ``mean_sim_task_se``, ``mean_sim_shared_se`` by batch means
        - ``sim_task_by_epoch``, ``sim_shared_by_epoch``, ``diff_by_epoch`` (epoch): means of the steps of an epoch, and
          Eq. 1 of the two; no epoch where none was told

        Without a task-specific parameter (or without a shared one) the variables that need it are NaN. ``attrs`` count
        the layers of each kind; ``layers_mixed``: shared ones with parameters of one task alone; and
        ``layers_of_several_tasks``: those whose parameters each belong to another task, in no ``sim_task_of``.

    Raises:
        BadOption: ``by`` is none of these, or a negative number of steps.
        NothingRecorded: no step, or no parameter that a task reaches.

    >>> from dominance import alignment
    >>> found = alignment(run)  # one shared parameter: gradients -1 and -1 in all, which moved it by 1 and 3
    >>> found.sim_shared.values
    array([1., 1.])
    """
    if warmup < 0:
        raise BadOption(f"warmup={warmup} is no number of steps", fix="give 0 or more")
    run.require_steps()
    numbers = run.numbers
    kinds = _Kinds(run)
    if not kinds.reached.any():
        raise NothingRecorded(
            f"{run.where}: no parameter is reached by a task", fix="name the tasks with dominance.observe({...})"
        )
    labels, alone, groups = kinds.split(by)
    rows = np.flatnonzero(~run.superseded)
    chosen = np.concatenate([[kinds.specific, kinds.shared], kinds.of_task, groups])
    sims = _similarities(run, rows, chosen, alone)
    sim_task, sim_shared = sims[:, 0], sims[:, 1]
    steps = numbers[rows]
    data: dict[str, Any] = {
        "sim_task": ("step", sim_task),
        "sim_shared": ("step", sim_shared),
        "diff": ("step", diff(sim_task, sim_shared)),
        "sim_task_of": (("step", "task"), sims[:, 2 : 2 + len(kinds.of_task)]),
        "sim": (("step", "layer"), sims[:, 2 + len(kinds.of_task) :]),
    }
    for suffix, kept in (("", steps >= 0), ("_after_warmup", steps >= warmup)):
        data |= {f"{name}{suffix}": ((), value) for name, value in _means(sim_task[kept], sim_shared[kept]).items()}
    for name, values in (("sim_task", sim_task), ("sim_shared", sim_shared)):
        data[f"mean_{name}_se"] = ((), batch_means(values)[1])
    told, by_epoch = _by_epoch(sim_task, sim_shared, run["epoch"].to_numpy()[rows])
    data |= by_epoch
    return xr.Dataset(
        data,
        coords={
            "step": steps,
            "epoch": told,
            "layer": labels,
            "shared": ("layer", kinds.shared[alone] if by == "layer" else (groups & kinds.shared).any(axis=1)),
            "task": run.tasks,
        },
        attrs={
            "by": by if isinstance(by, str) else "custom",
            "warmup": warmup,
            "steps_taken": steps_taken(run.tree),
            "steps_recorded": len(numbers),
            "left_out_superseded": len(numbers) - len(rows),
            "skipped": int((run.skipped[rows] == 1).sum()),
            "steps_in_warmup": int((steps < warmup).sum()),
            "steps_with_diff": int(np.isfinite(data["diff"][1]).sum()),
            "layers_shared": int(kinds.shared.sum()),
            "layers_task_specific": int(kinds.specific.sum()),
            "layers_mixed": kinds.mixed,
            "layers_of_several_tasks": int((kinds.specific & ~kinds.of_task.any(axis=0)).sum()),
            "layers_without_task": int((~kinds.reached).sum()),
        },
    )


class _Kinds:
    """Which layers are shared, and which belong to one task; (layer,) bool each.

    Attributes:
        shared: a parameter is reached by two tasks.
        specific: not shared, and reached.
        of_task: (task, layer) reached by this task alone.
        mixed: number of shared layers with a parameter that one task alone reaches.
    """

    def __init__(self, run: PreparedRun) -> None:
        self.layers = run.layers
        place = {layer: i for i, layer in enumerate(self.layers)}
        tasks = run.tasks.tolist()
        reach: list[set[str]] = [set() for _ in self.layers]
        alone = np.zeros(len(self.layers), dtype=bool)
        for parameter in run.attrs["parameters"]:
            reach[place[parameter["layer"]]] |= set(parameter["tasks"])
            alone[place[parameter["layer"]]] |= len(parameter["tasks"]) == 1
        self.shared = run["layer/shared"].to_numpy().astype(bool)
        self.reached = np.array([bool(names) for names in reach])
        self.specific = ~self.shared & self.reached
        self.of_task = np.array([[names == {task} for names in reach] for task in tasks]) & self.specific
        self.mixed = int((self.shared & alone).sum())

    def split(self, by: ByLayer) -> tuple[list[str], NDArray[np.int64], NDArray[np.bool_]]:
        """Labels of what Sim is given for; and layers that stand alone, or groups of layers (group, layer)."""
        names = [layer for layer, reached in zip(self.layers, self.reached, strict=True) if reached]
        if by == "layer":
            return names, np.flatnonzero(self.reached), np.zeros((0, len(self.layers)), dtype=bool)
        labels, inside = groups_of(by, names)
        groups = np.zeros((len(labels), len(self.layers)), dtype=bool)
        groups[:, self.reached] = inside
        return ["all"] if by == "all" else labels, np.zeros(0, np.int64), groups  # all: shared or not


def _similarities(
    run: PreparedRun, rows: NDArray[np.int64], groups: NDArray[np.bool_], alone: NDArray[np.int64]
) -> Floats:
    """(step, group) Sim of the groups of layers (group, layer), and of layers that stand alone, at these rows."""
    skipped = run.skipped > 0
    table = run["layer"].to_dataset()[list(_STATISTICS)]
    parts = []
    for rows_read in blocks(len(skipped)):
        block = table.isel(step=rows_read)
        # Layer by layer, as 0 * NaN is no 0: a layer that is not finite harms no group but its own.
        sums = [
            np.concatenate([*(values[:, inside].sum(axis=1)[:, None] for inside in groups), values[:, alone]], axis=1)
            for values in (block[name].to_numpy() for name in _STATISTICS)
        ]
        parts.append(similarity(*sums))
    found = np.concatenate(parts)
    found[skipped] = np.nan
    return found[rows]


def _means(sim_task: Floats, sim_shared: Floats) -> dict[str, float]:
    """Means over the steps that have a value."""
    named = {"sim_task": sim_task, "sim_shared": sim_shared, "diff": diff(sim_task, sim_shared)}
    means = {f"mean_{name}": _mean(values) for name, values in named.items()}
    both = diff(np.array(means["mean_sim_task"]), np.array(means["mean_sim_shared"]))
    return means | {"diff_of_means": float(both)}


def _by_epoch(sim_task: Floats, sim_shared: Floats, epochs: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
    """The epochs that were told, and the means of their steps."""
    told = np.unique(epochs[epochs >= 0])
    each = [_means(sim_task[epochs == epoch], sim_shared[epochs == epoch]) for epoch in told]
    named = {"sim_task": "mean_sim_task", "sim_shared": "mean_sim_shared", "diff": "diff_of_means"}
    return told, {
        f"{name}_by_epoch": ("epoch", np.array([means[of] for means in each], dtype=np.float64))
        for name, of in named.items()
    }


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
