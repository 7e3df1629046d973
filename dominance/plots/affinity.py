"""Affinity of tasks: how much a step for one lowers the loss of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dominance.analyse.affinity import affinity
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs, series
from dominance.plots.cell_table import cell_table
from dominance.plots.inputs import PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import DIVERGING
from dominance.plots.result import Plot


@backends.themed
def plot_affinity(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """A table of mean affinities: a row for the task that steps, a column for the task whose loss is looked at.

    Of a training that measured it by lookahead, that; otherwise the first-order estimate, and the note says so.

    Args:
        run_or_result: an open run, or the result of ``affinity`` with ``by="all"``.
        tasks: show these tasks; default all.
        layers: only None is possible: the whole trunk.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from task names to what stands on the plot.

    Raises:
        NothingRecorded: fewer than two tasks, or no affinity is known.
        BadOption: an unknown task or backend, layers, or a result of several runs or by layer.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "mean_affinity", affinity))
    chosen = inputs.choose_tasks(data, tasks)
    if layers is not None:
        raise BadOption(
            "affinity is drawn for the whole trunk", fix='leave layers out; affinity(run, by="layer") has them'
        )
    if len(chosen) < 2:
        raise NothingRecorded(f"affinity compares tasks, and there is one ({chosen[0]})", fix="choose two tasks")
    data = data.sel(task=chosen, task_other=chosen)
    measured = bool(np.isfinite(data["mean_affinity"]).any())
    if measured:
        values, number = data["mean_affinity"].values, data.attrs.get("steps_probed")
        what = f"Mean affinity Z over {number} probed steps: share by which a step of the task of the row alone lowers"
    else:
        data = inputs.whole_trunk(data, 'pass the run itself, or affinity(run, by="all")')
        values, number = data["mean_first_order"].isel(layer=0).values, data.attrs.get("steps_with_first_order")
        what = (
            f"First-order estimate of the affinity, mean over {number} recorded steps: share by which a plain gradient"
            " step of the task of the row alone lowers"
        )
    if not np.isfinite(values).any():
        raise NothingRecorded("no affinity is known", fix="record losses, or log dominance.probes.lookahead")
    note = joined(
        what, "the loss of the task of the column. Below 0 it harms. Colours reach to the largest of two tasks."
    )
    names = relabel(chosen, labeller)
    off = np.abs(values[~np.eye(len(names), dtype=bool)])
    off = off[np.isfinite(off)]
    most = float(off.max(initial=0.0)) or float(np.nanmax(np.abs(values))) or 1.0
    ends = [(-most, f"{series.number(-most)} harms"), (0, "0"), (most, f"{series.number(most)} helps")]
    return cell_table(
        b, values, names, names, ax=ax, data=data, note=note, colours=DIVERGING, ends=ends, number=series.number,
        cell_height=(0.14, 0.24),
    )  # fmt: skip
