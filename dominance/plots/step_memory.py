"""How much of a step its own gradients decide: a row for each shared layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dominance.analyse.step_memory import step_memory
from dominance.errors import NothingRecorded
from dominance.plots import backends, inputs
from dominance.plots.cell_table import percent_table
from dominance.plots.inputs import Layers, PlotInput, joined
from dominance.plots.labels import Labeller, relabel
from dominance.plots.result import Plot


@backends.themed
def plot_step_memory(
    run_or_result: PlotInput,
    *,
    tasks: str | Sequence[str] | None = None,
    layers: Layers = "each",
    ax: Any = None,
    backend: str | Any = "matplotlib",
    labeller: Labeller | None = None,
) -> Plot:
    """Of the steps of each shared layer, what this step's gradients decide: of each task, of all, and of the squares.

    In per cent, means over steps; what is left to 100 in "all" is remembered. See ``step_memory``.

    Args:
        run_or_result: an open run, or the result of ``step_memory``.
        tasks: show these tasks; "all" is of all of them in any case.
        layers: "each", a glob, or names.
        ax: axes to draw into.
        backend: "matplotlib", "seaborn" or "none", or an object with the functions of one.
        labeller: mapping or function from the names of tasks and layers to what stands on the plot.

    Raises:
        NothingRecorded: no usable step or shared layer, or an optimizer that ``step_memory`` does not know.
        BadOption: not a run, an unknown task, layer or backend.
    """
    b = backends.get(backend)
    data = inputs.one_run(inputs.resolve(run_or_result, "current_of", step_memory))
    chosen = inputs.choose_tasks(data, tasks)
    known = inputs.known_layers(data["current_of"])
    if not known:
        raise NothingRecorded("no shared layer was moved", fix="record a model with shared layers")
    names, left_out = inputs.choose_layers(known, layers or "each")
    data = data.sel(layer=names)
    parts = [data["current_of"].sel(task=task).mean("step").values for task in chosen]
    parts += [data["mean_current"].values, data["mean_accumulator"].values]
    percent = 100 * np.stack(parts, axis=1)
    rows, columns = relabel(names, labeller), [*relabel(chosen, labeller), "all", "squares"]
    words = "Share of the steps, and of their accumulated squares, that this step's gradients make, in per cent."
    note = joined(words, inputs.steps_left_out(data.attrs), left_out)
    return percent_table(b, percent, rows, columns, ax=ax, data=data, note=note)
