"""PUB's toy (Fig. 2): five starts, five methods, Adam, 35,000 steps of 1e-3.

At scale quick PUB takes them too; the others 7,000 of 5e-3, as long a way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.study.scores import events
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Training
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.plots.trajectories import plot_trajectories
from dominance.plots.result import Plot

PAPER = "PUB"
BENCHMARK, SCALE = "toy-2d", 0.1
STEPS, POINTS = {"quick": 7_000, "full": 35_000}, 350
RATES: dict[str, float | None] = {"quick": 5e-3, "full": None}
STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
"""As the benchmark numbers them."""
METHODS = {"cagrad": "CAGrad", "imtl-g": "IMTL-G", "nash-mtl": "Nash-MTL", "famo": "FAMO", "pub": "PUB"}
OTHERS = tuple(method for method in METHODS if method != "pub")
REACHED, TOGETHER, NEAR = 0.2, 0.05, 0.1
"""Distance to the Pareto set; distance of two ends, and of an end from L*, as shares of the front."""
LOWEST_SUM = -7 * (1 - SCALE) / (1 + SCALE)
"""x1 of the smallest L1 + L2 on the Pareto set."""
LOWEST = "L1:-2,L2:-20"
"""What the losses cannot fall below, which FAMO asks for."""


def trainings(wish: Wish) -> list[Job]:
    """Recorded once: what is drawn are the losses at the end of each 350th of it."""
    found: list[Job] = []
    for method in METHODS:
        scale = "full" if method == "pub" else wish.scale
        found += [
            Training(
                BENCHMARK,
                method,
                epochs=POINTS,
                lr=RATES[scale],
                settings={"start": start, "steps": STEPS[scale] // POINTS},
                options={"min_losses": LOWEST} if method == "famo" else {},
                every=10 * STEPS[scale],
            )
            for start in range(len(STARTS))
        ]
    return found


def front(x1: Any, x2: float = -8.3552) -> tuple[np.ndarray, np.ndarray]:
    """L1 and L2 on the Pareto set: see ``dominance.benchmarks.problems.toy_2d``.

    >>> [round(float(each), 3) for each in front(0.0)]
    [-1.509, -15.092]
    """
    weight = np.tanh(-x2 / 2)
    first, second = (((sign * np.asarray(x1) + 7) ** 2 + 0.1 * (-x2 - 8) ** 2) / 10 - 20 for sign in (-1, 1))
    return SCALE * weight * first, weight * second


def ways(material: Material) -> xr.Dataset:
    """first, second, distance (method, start, point); the first point is the start itself."""

    def find() -> xr.Dataset:
        shape = (len(METHODS), len(STARTS), 1 + max(_points(run) for run in material.select(benchmark=BENCHMARK)))
        found = {name: np.full(shape, np.nan) for name in ("first", "second", "distance")}
        for i, method in enumerate(METHODS):
            for start in range(len(STARTS)):
                (run, *_) = material.select(benchmark=BENCHMARK, method=method, settings={"start": start})
                for name, values in _way(run).items():
                    found[name][i, start, : len(values)] = values
        place = np.linspace(-7, 7, 101)
        first, second = front(place)
        middle = [float(each) for each in front(0.0)]
        return xr.Dataset(
            {name: (("method", "start", "point"), values) for name, values in found.items()}
            | {"front_first": ("place", first), "front_second": ("place", second)},
            coords={"method": list(METHODS.values())},
            attrs={
                "names": ["L1", "L2"],
                "optimum": middle,
                "lowest": [float(each) for each in front(LOWEST_SUM)],
                "note": "The text does not say where it is: here the middle of the front, x1 = 0.",
                "taken": _taken(material.select(benchmark=BENCHMARK, method="pub")[0]),
            },
        )

    return material.once("ways", find)


def _points(run: xr.DataTree) -> int:
    return int(run.attrs["training"]["epochs"])


def _way(run: xr.DataTree) -> dict[str, np.ndarray]:
    table = events(run)
    table = table[table["split"] == "val"]
    begin = run["loss/loss"].isel(step=0)
    found = {}
    for name, task, metric in (("first", "L1", "loss"), ("second", "L2", "loss"), ("distance", "L1", "distance")):
        values = table[(table["task"] == task) & (table["metric"] == metric)].sort_values("epoch")["value"].to_numpy()
        before = float(begin.sel(task=task)) if metric == "loss" else np.nan
        found[name] = np.concatenate([[before], values])
    return found


def ends(material: Material) -> xr.Dataset:
    """first, second (as shares of the front's extent) and distance (method, start): the last point of each way."""
    data = ways(material)
    there = np.isfinite(data["first"].values)
    place = there.shape[-1] - 1 - there[..., ::-1].argmax(axis=-1)
    scale = {name: np.ptp(data[f"front_{name}"].values) for name in ("first", "second")} | {"distance": 1.0}
    last = {
        name: np.take_along_axis(data[name].values, place[..., None], axis=-1)[..., 0] / size
        for name, size in scale.items()
    }
    return xr.Dataset(
        {name: (("method", "start"), values) for name, values in last.items()}, {"method": data["method"]}
    )


def _taken(run: xr.DataTree) -> str:
    training = run.attrs["training"]
    steps = int(training["epochs"]) * int(training["settings"]["steps"])
    return f"after {steps:,} steps of {training['lr']:g}"


def apart(each: xr.Dataset) -> float:
    """The largest distance of two ends, as a share of the front's extent; 0 of none."""
    x, y = each["first"].values, each["second"].values
    return float(np.hypot(x[:, None] - x, y[:, None] - y).max(initial=0.0))


def _draw(material: Material, backend: Any) -> Plot:
    return plot_trajectories(ways(material), backend=backend)


def _arrive(material: Material) -> Judgement:
    pub = ends(material).sel({"method": "PUB"})
    there = pub["distance"].values <= REACHED
    spread = apart(pub)
    near = apart(pub.isel(start=np.flatnonzero(there)))
    lost = [f"({x:g}, {y:g}), {far:.2g} away" for (x, y), far in zip(STARTS, pub["distance"].values, strict=True)
            if far > REACHED]  # fmt: skip
    evidence = (
        f"{ways(material).attrs['taken']} {int(there.sum())} of {len(STARTS)} end on the Pareto set, at most"
        f" {100 * near:.2g} % of the front apart" + (f"; not that from {', '.join(lost)}" if lost else "")
    )
    return Judgement(three(bool(there.all()) and spread <= TOGETHER, bool(there.all())), evidence)


def _at_the_optimum(material: Material) -> Judgement:
    pub, data = ends(material).sel({"method": "PUB"}), ways(material)
    from_middle, from_lowest = (_far(pub, data, data.attrs[name]) for name in ("optimum", "lowest"))
    evidence = (
        f"the ends lie {_percents(from_middle)} of the front from the middle; from the smallest L1 + L2, which is"
        f" another reading, {_percents(from_lowest)}"
    )
    holds = from_middle <= NEAR
    return Judgement(three(bool(holds.all()), bool(holds.sum() >= 3)), evidence)


def _far(ends: xr.Dataset, data: xr.Dataset, point: Sequence[float]) -> np.ndarray:
    """Distance of each end from a point, as shares of the front's extent."""
    x, y = (
        value / np.ptp(data[f"front_{name}"].values) for name, value in zip(("first", "second"), point, strict=True)
    )
    return np.asarray(np.hypot(ends["first"].values - x, ends["second"].values - y))


def _percents(values: np.ndarray) -> str:
    return ", ".join(f"{100 * each:.3g}" for each in values) + " %"


def _others_differ(material: Material) -> Judgement:
    each = ends(material)
    said, holds = [], []
    for method in OTHERS:
        one = each.sel({"method": METHODS[method]})
        there, spread = int((one["distance"] <= REACHED).sum()), apart(one)
        said.append(
            f"{METHODS[method]}: {there} of {len(STARTS)} on the Pareto set, ends up to {100 * spread:.3g} % apart"
        )
        holds.append(there < len(STARTS) or spread > TOGETHER)
    return Judgement(three(all(holds), sum(holds) >= 2), "; ".join(said))


ITEMS = (
    Item(
        "pub-fig2",
        PAPER,
        "Fig. 2",
        "two losses of two parameters from five starts",
        needs=trainings,
        make=_draw,
        claims=(
            Claim(
                "pub-toy-reaches",
                "PUB reaches one and the same solution from all five starts",
                "after 35,000 steps all five end within 0.2 of the Pareto set, and within 5 % of its extent in the"
                " losses of each other; partly: all on the Pareto set",
                _arrive,
            ),
            Claim(
                "pub-toy-optimum",
                "that is the optimal solution L*",
                "all five end within 10 % of the front's extent from its middle, x1 = 0, where both losses are"
                " equally far between their ends (the text does not say where L* is); partly: three do",
                _at_the_optimum,
            ),
            Claim(
                "pub-toy-others",
                "CAGrad, IMTL, Nash-MTL and FAMO end at different points, depending on the start",
                "for each of the four, not all starts end within 0.2 of the Pareto set, or two ends are more than 5"
                " % of the front's extent apart; partly: for two of them",
                _others_differ,
            ),
        ),
    ),
)
