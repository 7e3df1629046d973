"""What a report for a browser draws as lines over training; how they are drawn is another matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.learning_rate import lr_dominance
from dominance.analyse.loss_curves import loss_curves
from dominance.analyse.noise_scale import noise_scale
from dominance.errors import NothingRecorded
from dominance.plots import inputs, series
from dominance.plots.palette import DASHES, TASKS, lines_of
from dominance.reports.figures import ReportData

MOST_PAIRS, MOST_CURVES, MOST_LAYERS = 4, 12, 6
"""Pairs, tasks and layers that have lines."""

PAIR_COLOURS = ("#8a8a8a", "#a83a0c", "#5a8cc4", "#6f8f3a")


@dataclass(frozen=True)
class Curve:
    """One line: values at the steps ``x``."""

    name: str
    x: Any
    y: Any
    colour: str
    dashes: str = "-"


@dataclass(frozen=True)
class Chart:
    """Lines over training steps.

    Attributes:
        limits: of the axis of steps.
        reference: a level line.
        log: whether the other axis is logarithmic.
    """

    title: str
    curves: Sequence[Curve]
    limits: tuple[float, float]
    reference: float | None = None
    log: bool = False
    last: str = field(init=False)
    """What the lines end at, in words, for those who do not see them."""

    def __post_init__(self) -> None:
        ends = []
        for curve in self.curves:
            known = np.asarray(curve.y, float)
            known = known[np.isfinite(known)]
            ends += [f"{curve.name} {known[-1]:.3g}"] if len(known) else []
        object.__setattr__(self, "last", "; ".join(ends))


def charts(material: ReportData) -> list[Chart]:
    """All that this run can fill."""
    found = []
    for make in (_conflict, _losses, _effective, _rates, _own_rates, _noise):
        with suppress(NothingRecorded):
            found.append(make(material))
    return [chart for chart in found if chart.last]


def _conflict(material: ReportData) -> Chart:
    data = material.seen.trunk_conflict.sel(layer=ALL_SHARED)
    tasks = [str(task) for task in data["task"].values]
    mean = data["mean_gcd"].transpose("task", "task_other").values
    pairs = [(i, j) for i, j in zip(*np.triu_indices(len(tasks), 1), strict=True) if np.isfinite(mean[i, j])]
    pairs = sorted(pairs, key=lambda pair: -mean[pair])[:MOST_PAIRS]
    values = data["gcd"].transpose("task", "task_other", "step").values
    looks = zip(PAIR_COLOURS, DASHES, strict=True)
    curves = [
        _smooth(f"{tasks[i]} × {tasks[j]}", data, values[i, j], look)
        for (i, j), look in zip(pairs, looks, strict=False)
    ]
    title = "GCD of the pairs that conflict most: over 1 they pull apart"
    return Chart(title, curves, inputs.span(data), reference=1)


def _losses(material: ReportData) -> Chart:
    data = loss_curves(material.run)

    def of_start(task: str) -> Any:
        loss = data["loss"].sel(task=task).values
        first = loss[: max(1, len(loss) // 10)]
        start = float(np.mean(first[np.isfinite(first)])) if np.isfinite(first).any() else float("nan")
        return 100 * loss / start if start > 0 else np.full(len(loss), np.nan)

    return Chart("Losses, % of their start", _of_tasks(data, of_start), inputs.span(data), reference=100)


def _effective(material: ReportData) -> Chart:
    seen = material.seen
    picked = material.worst(MOST_LAYERS)
    layers = [str(name) for name in seen.layers["layer"].values] if isinstance(picked, str) else list(picked or ())
    looks = [("#222222", "-"), *lines_of(len(layers))]
    tables = [seen.trunk.sel(layer=ALL_SHARED), *(seen.layers.sel(layer=name) for name in layers)]
    curves = [
        Curve(name, table["step"].values.astype(float), table["effective_tasks"].values, *look)
        for name, table, look in zip([ALL_SHARED, *map(material.name, layers)], tables, looks, strict=True)
    ]
    most = seen.trunk.sizes["task"]
    said = "" if isinstance(picked, str) else ", worst layers"
    return Chart(f"Effective tasks{said}: 1 is dominated, {most} balanced", curves, inputs.span(seen.trunk), most)


def _rates(material: ReportData) -> Chart:
    data = inputs.group(material.run, "learning_rate")
    values = data["learning_rate"].transpose("layer", "step").values
    x, names = data["step"].values.astype(float), [str(name) for name in data["layer"].values]
    first: dict[bytes, int] = {}
    for i in range(len(values)):
        first.setdefault(values[i].tobytes(), i)
    alike = {i: sum(row.tobytes() == values[i].tobytes() for row in values) for i in first.values()}
    chosen = list(first.values())[:MOST_CURVES]
    curves = [
        Curve(
            "all layers" if len(first) == 1 else names[i] + (f" and {alike[i] - 1} more" if alike[i] > 1 else ""),
            x, np.where(values[i] > 0, values[i], np.nan), *look,
        )
        for i, look in zip(chosen, lines_of(len(chosen)), strict=True)
    ]  # fmt: skip
    return Chart("Learning rate of the optimizer", curves, inputs.span(data), log=True)


def _own_rates(material: ReportData) -> Chart:
    data = lr_dominance(material.run, points=200)
    mean = data["closeness"].mean("layer").transpose("task", "step")
    title = "Whose learning rate the shared parameters have: 1 is the task's own"
    return Chart(title, _of_tasks(data, lambda task: mean.sel(task=task).values), inputs.span(data), reference=1)


def _noise(material: ReportData) -> Chart:
    data = noise_scale(material.run, by="all").sel(layer=ALL_SHARED)
    signal, noise = (data[f"{name}_sq_at"].transpose("task", "window").values for name in ("signal", "noise"))
    middle = (data["first_step"].values + data["last_step"].values) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 100 * noise / (noise + np.maximum(signal, 0))
    tasks = [str(task) for task in data["task"].values][:MOST_CURVES]
    curves = [
        Curve(task, middle.astype(float), series.smooth(share[k], series.window_of(len(middle))), *look)
        for k, (task, look) in enumerate(zip(tasks, lines_of(len(tasks)), strict=True))
    ]
    limits = inputs.span(material.seen.trunk)
    return Chart("Noise of a batch, % of the squared gradient of each task", curves, limits, reference=50)


def _of_tasks(data: xr.Dataset, values: Callable[[str], Any]) -> list[Curve]:
    tasks = [str(task) for task in data["task"].values]
    looks = list(zip(tasks, lines_of(len(tasks)), strict=True))[:MOST_CURVES]
    return [_smooth(task, data, values(task), look) for task, look in looks]


def _smooth(name: str, data: xr.Dataset, values: Any, look: tuple[str, str]) -> Curve:
    x = data["step"].values.astype(float)
    return Curve(name, x, series.smooth(values, series.window_of(len(x))), *look)


def across_runs(runs: Sequence[tuple[str, ReportData]]) -> list[Chart]:
    """One line a run: effective tasks, the worst pair, and each task's loss."""
    looks = [(colour, dashes) for dashes in DASHES for colour in TASKS]
    limits = (0.0, max(inputs.span(material.seen.trunk)[1] for _, material in runs))
    named = [(name, material, looks[i % len(looks)]) for i, (name, material) in enumerate(runs)]
    effective, conflict = [], []
    for name, material, look in named:
        trunk = material.seen.trunk.sel(layer=ALL_SHARED)
        effective.append(_smooth(name, trunk, trunk["effective_tasks"].values, look))
        degrees = material.seen.trunk_conflict.sel(layer=ALL_SHARED)
        values = degrees["gcd"].transpose("task", "task_other", "step").values
        values = np.where(np.eye(len(values), dtype=bool)[:, :, None], np.nan, values)
        known = np.isfinite(values).any(axis=(0, 1))
        largest = np.where(known, np.nanmax(np.where(np.isfinite(values), values, -np.inf), axis=(0, 1)), np.nan)
        conflict.append(_smooth(name, degrees, largest, look))
    found = [
        Chart("Effective tasks, of all shared parameters", effective, limits),
        Chart("Largest GCD of two tasks: over 1 they pull apart", conflict, limits, reference=1),
    ]
    tasks = dict.fromkeys(str(task) for _, material, _ in named for task in material.run["task"].to_numpy())
    losses = [(name, loss_curves(material.run), look) for name, material, look in named]
    for task in list(tasks)[:MOST_CURVES]:
        curves = []
        for name, data, look in losses:
            if task in data["task"].values:
                curves.append(_smooth(name, data, data["loss"].sel(task=task).values, look))
        found.append(Chart(f"Loss of {task}", curves, limits))
    return [chart for chart in found if chart.last]
