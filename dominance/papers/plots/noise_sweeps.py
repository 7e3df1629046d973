"""What noise on the parameters that a task owns does to each task (the two sweeps of AdaTask, Fig. 1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.kernels import t_test
from dominance.plots import backends, series, sheets
from dominance.plots.backends import Entry
from dominance.plots.palette import INK, points_of
from dominance.plots.result import Plot

SELECTIONS = {"top": ("-", "noise on what {} owns most"), "random": ("--", "on as many random parameters")}


@backends.themed
def plot_noise_sweeps(result: xr.Dataset, *, owner: str, backend: str | Any = "matplotlib") -> Plot:
    """Two panels: growth of each task's metric by the variance of the noise, and by the share of parameters with noise.

    Bands are 95 % intervals over runs; with one run, over the draws of the noise.

    Args:
        result: change ([run,] task, setting, selection, repeat) of ``noise_importance``, of one owner and metric, with
            the coordinates ``fraction`` and ``variance`` along ``setting``; and ``share_perturbed``, if it is there.
        owner: whose parameters get the noise.

    Returns:
        Plot; ``data`` holds mean, lower and upper (task, setting, selection).
    """
    b = backends.get(backend)
    data = summary(result["change"])
    data.attrs["note"] += perturbed(result)
    tasks = [str(task) for task in data["task"].values]
    looks = points_of(len(tasks))
    shown = [name for name in SELECTIONS if name in data["selection"].values]
    entries = [
        Entry(f"error of {task}", colour, line=True, marker=mark)
        for task, (colour, mark) in zip(tasks, looks, strict=True)
    ]
    entries += [
        Entry(words.format(owner), INK, line=True, dashes=dashes) for dashes, words in (SELECTIONS[n] for n in shown)
    ]
    fractions, variances = data["fraction"].values, data["variance"].values
    sweeps = [
        (
            fractions == fractions.min(),
            variances,
            f"noise on {100 * fractions.min():g} % of the parameters",
            "its variance",
        ),
        (
            variances == variances.min(),
            100 * fractions,
            f"noise of variance {variances.min():g}",
            "% of the parameters",
        ),
    ]
    around = sheets.Around(entries, data.attrs["note"], "", "growth of the error (%)")
    sheet = sheets.grid(b, [f"{fixed}, by {label}" for _, _, fixed, label in sweeps], around, height=1.35)
    drawn = data.sel(selection=shown)
    low, high = 100 * float(drawn["lower"].min()), 100 * float(drawn["upper"].max())
    low = min(0.0, low)
    high += 0.05 * (high - low)
    for axes, (inside, values, _, _) in zip(sheet.axes, sweeps, strict=True):
        kept = np.flatnonzero(inside)[np.argsort(values[inside])]
        x = values[kept].astype(float)
        for name in shown:
            for task, (colour, mark) in zip(tasks, looks, strict=True):
                one = 100 * data.isel(setting=kept).sel(task=task, selection=name)
                b.band(axes, x, one["lower"].values, one["upper"].values, colour=colour, alpha=0.2)
                b.line(axes, x, one["mean"].values, colour=colour, dashes=SELECTIONS[name][0])
                b.line(axes, x, one["mean"].values, colour=colour, marker=mark)
        room = 0.04 * (x[-1] - x[0]) or 1.0
        b.axis(axes, "x", limits=(x[0] - room, x[-1] + room), ticks=x, labels=[f"{value:g}" for value in x])
        ticks = series.nice_ticks(low, high, 5)
        labels = series.numbers(ticks) if axes is sheet.axes[0] else []
        b.axis(axes, "y", limits=(low, high), ticks=ticks, labels=labels)
        b.reference(axes, 0.0, colour="#8a8a8a", dashes=":", width=0.5)
    return Plot(sheet.figures, sheet.axes, data, data.attrs["note"], b)


def perturbed(result: xr.Dataset) -> str:
    """On how many of all shared parameters the noise really is, where that is known."""
    if "share_perturbed" not in result:
        return ""
    low, high = (100 * float(value) for value in (result["share_perturbed"].min(), result["share_perturbed"].max()))
    return f" Noise is on {low:.3g} to {high:.3g} % of all shared parameters."


def summary(change: xr.DataArray) -> xr.Dataset:
    """Mean and 95 % limits (Student's t) over runs; over the draws of the noise where there is one run."""
    runs = change.sizes.get("run", 1)
    over, what = ("run", f"{runs} runs") if runs > 1 else ("repeat", f"{change.sizes['repeat']} draws of the noise")
    values = change.mean("repeat") if runs > 1 else change.squeeze("run", drop=True) if "run" in change.dims else change
    core = values.transpose("task", "setting", "selection", over)
    found = np.array([_estimate(row) for row in core.values.reshape(-1, core.sizes[over])])
    parts = found.reshape(*core.shape[:-1], 3)
    template = core.isel({over: 0}, drop=True)
    data = xr.Dataset({name: template.copy(data=parts[..., i]) for i, name in enumerate(("mean", "lower", "upper"))})
    return data.assign_attrs(note=f"Mean over {what}; bands: 95 % intervals over them (Student's t).")


def _estimate(values: np.ndarray) -> tuple[float, float, float]:
    found = t_test.mean(values[~np.isnan(values)])
    low, high = found.interval()
    return (found.value, found.value if math.isnan(low) else low, found.value if math.isnan(high) else high)
