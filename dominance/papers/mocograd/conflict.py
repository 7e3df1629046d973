"""MoCoGrad's figures of task conflicts on MovieLens: task sets and architectures (1), TCI against GCD (2)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.study.tci_gcd import tci_gcd_correlation
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Training
from dominance.papers.material import Material
from dominance.papers.mocograd.tables import PAPER
from dominance.papers.outcomes import three
from dominance.papers.paired import AT_LEAST, difference, gain, sure
from dominance.papers.presets import FILMS, PRESETS
from dominance.papers.values import scores
from dominance.plots.result import Plot
from dominance.plots.scores import plot_scores
from dominance.plots.tci_gcd import plot_tci_gcd

BENCHMARK, METRIC = "movielens", "rmse"
A, B, C = "Crime", "Horror", "Thriller"
"""The text does not say which genres its tasks A, B and C are."""
ALONE = "A"
SETS = {ALONE: (A,), "A+B": (A, B), "A+B+C": (A, B, C)}
ARCHITECTURES = {"hps": "HPS", "mmoe": "MMoE"}
SEEDS = range(AT_LEAST)
STANDS_FOR = (
    "MovieLens with a hundred thousand ratings in place of ten million (--data movielens=DIR for those). The text"
    f" does not name its tasks: here A is {A}, B {B}, C {C}."
)


def _training(wish: Wish, method: str, tasks: tuple[str, ...], architecture: str, seed: int) -> Job:
    common = dict(PRESETS[PAPER, BENCHMARK].how) if BENCHMARK in wish.data else FILMS.how(wish.scale)
    settings = wish.settings(BENCHMARK, **common.pop("settings", {}))
    fields = {**common, "architecture": architecture, "tasks": tasks, "settings": settings}
    return Training(BENCHMARK, method, seed=seed, **fields)


def by_sets(wish: Wish) -> list[Job]:
    """A, B and C alone; A+B and A+B+C together; both architectures."""
    return [
        _training(wish, method, tasks, architecture, seed)
        for architecture in ARCHITECTURES
        for method, tasks in (("stl", (A, B, C)), ("equal-weight", (A, B)), ("equal-weight", (A, B, C)))
        for seed in SEEDS
    ]


def conflicts(wish: Wish) -> list[Job]:
    """With hard parameter sharing: A, B and C alone, and every set with A in it."""
    joint = [("equal-weight", tasks) for tasks in ((A, B), (A, C), (A, B, C))]
    return [
        _training(wish, method, tasks, "hps", seed) for method, tasks in [("stl", (A, B, C)), *joint] for seed in SEEDS
    ]


def errors(material: Material) -> dict[tuple[str, str], xr.DataArray]:
    """(architecture, task set) -> RMSE of A over seeds."""
    found = {}
    for architecture in ARCHITECTURES:
        for name, tasks in SETS.items():
            method = "stl" if name == ALONE else "equal-weight"
            values = scores(material, METRIC, method=method, architecture=architecture, tasks=tasks)
            found[architecture, name] = values.sel(task=A)
    return found


def _draw_sets(material: Material, backend: Any) -> Plot:
    found = errors(material)
    table = np.full((sum(values.size for values in found.values()), len(ARCHITECTURES), 1), np.nan)
    names: list[str] = []
    for (architecture, name), values in found.items():
        place = list(ARCHITECTURES).index(architecture)
        table[len(names) : len(names) + values.size, place, 0] = values.values
        names += [name] * values.size
    data = xr.Dataset(
        {"value": (("run", "task", "metric"), table)},
        coords={
            "run": [f"{name} {i}" for i, name in enumerate(names)],
            "task": list(ARCHITECTURES.values()),
            "metric": ["RMSE of A"],
            "direction": (("task", "metric"), np.full((len(ARCHITECTURES), 1), "lower", dtype=object)),
            "method": ("run", names),
        },
    )
    return plot_scores(data, backend=backend)


def _more_tasks_are_worse(material: Material) -> Judgement:
    found = errors(material)
    said, holds, certain = [], [], []
    for architecture, label in ARCHITECTURES.items():
        for name, more in pairwise(SETS):
            one = gain(*(by_seed_of(found[architecture, each]) for each in (more, name)))
            said.append(f"{label}, {more} from {name}: {difference(one)}")
            holds.append(one.value > 0)
            certain.append(sure(one))
    return Judgement(three(all(certain), sum(holds) >= len(holds) / 2), "; ".join(said))


def by_seed_of(values: xr.DataArray) -> xr.DataArray:
    """(run) as (seed)."""
    return xr.DataArray(values.values, {"seed": values["seed"].values}, "seed")


def correlation(material: Material) -> xr.Dataset:
    """``tci_gcd_correlation`` over the epochs of all sets."""

    def find() -> xr.Dataset:
        joint = material.select(benchmark=BENCHMARK, method="equal-weight", architecture="hps")
        alone = material.select(benchmark=BENCHMARK, method="stl", architecture="hps")
        return tci_gcd_correlation({str(i): run for i, run in enumerate(joint)}, alone, metric=METRIC)

    return material.once("correlation", find)


def _draw_conflicts(material: Material, backend: Any) -> Plot:
    return plot_tci_gcd(correlation(material), backend=backend)


def _they_correlate(material: Material) -> Judgement:
    found = correlation(material)
    raw = {name: float(found[name].sel({"task": A, "measure": "pearson"})) for name in ("correlation", "low", "high")}
    held = float(found["correlation"].sel({"task": A, "measure": "partial"}))
    evidence = (
        f"task A: r = {raw['correlation']:.2f} (95 % interval {raw['low']:.2f} to {raw['high']:.2f}); with the epoch"
        f" held {held:.2f}"
    )
    return Judgement(three(raw["correlation"] >= 0.5 and raw["low"] > 0 and held > 0, raw["correlation"] > 0), evidence)


ITEMS = (
    Item(
        "mocograd-fig1",
        PAPER,
        "Fig. 1",
        "error of task A, trained with more and more tasks",
        needs=by_sets,
        make=_draw_sets,
        stands_for=STANDS_FOR,
        own=lambda material: material.given(BENCHMARK),
        unstated=PRESETS[PAPER, BENCHMARK].left_open,
        claims=(
            Claim(
                "mocograd-more-tasks",
                "task A gets worse the more tasks it is trained with, with HPS and with MMoE",
                "RMSE of A rises from A to A+B and from A+B to A+B+C with both: the 95 % interval of each of the four"
                f" differences, paired by seed, over at least {AT_LEAST} seeds, lies above 0; partly: the means of two"
                " of the four do",
                _more_tasks_are_worse,
            ),
        ),
    ),
    Item(
        "mocograd-fig2",
        PAPER,
        "Fig. 2",
        "task conflict intensity against gradient conflict degree",
        needs=conflicts,
        make=_draw_conflicts,
        stands_for=STANDS_FOR,
        own=lambda material: material.given(BENCHMARK),
        unstated=PRESETS[PAPER, BENCHMARK].left_open,
        claims=(
            Claim(
                "mocograd-tci-gcd",
                "there is a strong positive correlation between TCI and GCD",
                "over the epochs of all sets r >= 0.5 for task A with a 95 % interval above 0, and positive with the"
                " epoch held as well; partly: r > 0",
                _they_correlate,
            ),
        ),
    ),
)
