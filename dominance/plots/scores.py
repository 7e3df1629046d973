"""The scores of methods, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.kernels import t_test
from dominance.analyse.study.scores import final_scores
from dominance.errors import BadOption, NothingRecorded
from dominance.plots import backends, inputs, sheets
from dominance.plots.backends import Entry
from dominance.plots.dots import Dots, column_names, draw
from dominance.plots.inputs import joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.palette import INK, TASKS
from dominance.plots.result import Plot

_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
LEVEL = 0.95


@backends.themed
def plot_scores(
    run_or_result: Any,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: None = None,
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """One panel for each metric of each task: the runs of each method, their mean, and its interval of t (95 %).

    Runs that do not say their method stand for themselves. An arrow says which direction is better, where it is known.

    Args:
        run_or_result: runs (as for ``final_scores``), or its result.
        tasks: names of the tasks to show; default all.
        layers: scores have no layers; only None is possible.
        ax: axes to draw into, one for each panel.
        backend: "matplotlib" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and methods to what stands on the plot.

    Raises:
        NothingRecorded: there is no score.
        BadOption: an unknown task or backend, or something that holds no scores.
    """
    b = backends.get(backend)
    data = run_or_result if isinstance(run_or_result, xr.Dataset) else final_scores(run_or_result)
    if "value" not in data or "run" not in data.dims:
        raise BadOption("cannot plot this: it holds no scores of runs", fix="give runs, or final_scores(runs)")
    data = data.sel(task=inputs.choose_tasks(data, tasks))
    shown = [
        (str(task), str(metric))
        for task in data["task"].values
        for metric in data["metric"].values
        if np.isfinite(data["value"].sel(task=task, metric=metric)).any()
    ]
    if not shown:
        raise NothingRecorded("there is no score to plot", fix="choose tasks that were evaluated")
    of_run = [str(m) or str(run) for m, run in zip(data["method"].values, data["run"].values, strict=True)]
    methods = list(dict.fromkeys(of_run))
    room = (sheets.panel_width(len(shown), 4) if sheets.columns_for(len(shown), 4) > 1 else 2.9) / len(methods)
    names, upright, below = column_names(b, relabel(methods, labeller), room, longest=0.9, spare=0.04)
    titles = [
        f"{task}, {metric}{_ARROWS[str(data['direction'].sel(task=real, metric=metric).item())]}"
        for (real, metric), task in zip(shown, relabel([task for task, _ in shown], labeller), strict=True)
    ]
    single = all(of_run.count(method) == 1 for method in methods)
    note = joined(
        f"Scores: {data.attrs['take']} of the split {data.attrs['split']}." if "split" in data.attrs else "",
        "" if single else "Bar: 95 % interval of the mean over runs (Student's t).",
    )
    entries = [Entry("each run", TASKS[0], marker="o"), Entry("mean", INK, line=True, width=1.4)]
    around = sheets.Around(entries, note)
    sheet = sheets.panels(b, titles, around, ax, own_y=0.42, most=4, height=0.95, under=below)
    for target, (task, metric), under in zip(sheet.axes, shown, sheet.bottom, strict=True):
        values = data["value"].sel(task=task, metric=metric).to_numpy()
        groups = _groups(values, of_run, methods)
        draw(b, target, groups, names if under else [], upright=upright)
    return Plot(sheet.figures, sheet.axes, data, note, b)


def _groups(values: NDArray[np.float64], of_run: Sequence[str], methods: Sequence[str]) -> list[Dots]:
    """The runs of each method, and their mean with its interval."""
    groups = []
    for method in methods:
        own = np.array([v for v, name in zip(values, of_run, strict=True) if name == method and np.isfinite(v)])
        mean = t_test.mean(own)
        groups.append(Dots(own, mean.value, *mean.interval(LEVEL)))
    return groups
