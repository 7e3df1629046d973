"""AdaTask: A Task-Aware Adaptive Learning Rate Approach to Multi-Task Learning (AAAI 2023)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.joining import joined
from dominance.analyse.rau_buckets import rau_buckets
from dominance.analyse.runs import runs_of
from dominance.papers.item import Claim, Form, Item, Judgement, Wish
from dominance.papers.jobs import Training
from dominance.papers.material import Material
from dominance.papers.outcomes import three
from dominance.papers.paired import AT_LEAST
from dominance.papers.plots.owned import plot_owned
from dominance.papers.presets import PRESETS
from dominance.plots.rau_buckets import plot_rau_buckets
from dominance.plots.result import Plot

PAPER = "AdaTask"
SYNTHETIC = "adatask-synthetic"
B = "B"
"""The task whose rAU the paper draws."""

CALLED = {
    "equal-weight": "EqualWeight",
    "pcgrad": "PCGrad",
    "uw": "UW",
    "cagrad": "CAGrad",
    "gradnorm": "GradNorm",
    "adatask": "AdaTask",
    "ladatask": "LAdaTask",
}
FIG2 = ("equal-weight", "uw", "cagrad", "gradnorm", "adatask")
FIG3 = ("equal-weight", "ladatask", "adatask")
FIG8 = ("equal-weight", "pcgrad", "uw", "cagrad", "gradnorm", "adatask")
PRESET = PRESETS[PAPER, SYNTHETIC]
SELDOM = 3000
"""One step in so many is recorded where scores alone count."""
READING = (
    "N(10, 10) is read as a variance of 10, and the trunk has 200 units: with that task B pays for A, as in the text."
    " It gives neither; --set adatask-synthetic:spread=std --set adatask-synthetic:width=100 is another reading."
)


def synthetic(wish: Wish, methods: tuple[str, ...]) -> list[Training]:
    """Five seeds of each method (the paper has three), the same ones for every figure.

    Every step is recorded: AU is then Eq. 2 to the letter. What is balanced looks less so by fewer steps, for a mean of
    few squares wavers, and a mean over more of them goes back to where the learning rate was ten times as large.
    EqualWeight is evaluated under noise (Fig. 1) when it is trained. All scales are the same: with half the steps
    AdaTask is not balanced yet.
    """
    return [
        _training(wish, method, seed, every=1, probe="noise" if method == "equal-weight" else None)
        for seed in range(AT_LEAST)
        for method in methods
    ]


def scored(wish: Wish, methods: tuple[str, ...]) -> list[Training]:
    """Five seeds of each method, and of EqualWeight at K times the learning rate, our control, for tables of scores.

    Hardly a step is recorded, which takes a quarter of the time, and the scores are the same: the first, whose loss is
    L(0), and a few more.
    """
    ways: list[dict[str, Any]] = [{"method": method} for method in methods]
    ways.append({"method": "equal-weight", "lr": PRESET.tasks * PRESET.how["lr"]})
    return [_training(wish, seed=seed, every=SELDOM, **how) for seed in range(AT_LEAST) for how in ways]


def _training(wish: Wish, method: str, seed: int, **how: Any) -> Training:
    common = dict(PRESET.how)
    settings = wish.settings(SYNTHETIC, **common.pop("settings"))
    return Training(SYNTHETIC, method, seed=seed, settings=settings, budget="250MB", **{**common, **how})


def buckets_by_seed(material: Material, methods: tuple[str, ...], by: str) -> xr.Dataset:
    """rAU buckets of each method, ``run`` naming it, and ``seed``; at the steps of the first run of all.

    A run that was not counted at one of these shows its last count before it.
    """

    def find(method: str) -> list[xr.Dataset]:
        return [rau_buckets(run, by=by) for run in material.select(benchmark=SYNTHETIC, method=method)]

    each = {CALLED[name]: material.once(("buckets", name, by), partial(find, name)) for name in methods}
    steps = next(iter(each.values()))[0]["step"]
    found = [
        joined({str(i): one.reindex(step=steps, method="ffill") for i, one in enumerate(seeds)})
        .rename(run="seed")
        .assign_attrs(seeds=len(seeds))
        for seeds in each.values()
    ]
    return xr.concat(
        found,
        dim=xr.Variable("run", np.array(list(each), dtype=object)),
        join="outer",
        coords="different",
        compat="equals",
        combine_attrs="drop_conflicts",
    )


def buckets(material: Material, methods: tuple[str, ...], by: str) -> xr.Dataset:
    """rAU buckets of each method, ``run`` naming it: means over the seeds."""
    return buckets_by_seed(material, methods, by).mean("seed", keep_attrs=True)


LINES = "what each task owns, as lines with a common zero that can be told apart in grey."


def lines(methods: tuple[str, ...], by: str = "all") -> Form:
    """What each task owns under each method, beside the paper's stacked areas without a legend."""
    return Form("lines", LINES, lambda material, b: plot_owned(buckets_by_seed(material, methods, by), backend=b))


def _over_steps(methods: tuple[str, ...]) -> Any:
    def draw(material: Material, backend: Any) -> Plot:
        return plot_rau_buckets(buckets(material, methods, "all"), tasks=B, backend=backend)

    return draw


def _by_layer(methods: tuple[str, ...]) -> Any:
    def draw(material: Material, backend: Any) -> Plot:
        return plot_rau_buckets(buckets(material, methods, "layer"), tasks=B, layers="each", backend=backend)

    return draw


def last_shares(material: Material, method: str) -> xr.DataArray:
    """(run, layer, bucket) shares of the parameters by rAU of B, at the end of each seed."""
    runs = runs_of({str(i): run for i, run in enumerate(material.select(benchmark=SYNTHETIC, method=method))})
    ends = [rau_buckets(run, points=1).share.sel(task=B).isel(step=-1, drop=True) for run in runs.values()]
    together: xr.DataArray = xr.concat(ends, dim="run", coords="minimal", compat="override", join="exact")
    return together


def percents(values: xr.DataArray) -> str:
    """The range of shares, in percent."""
    low, high = 100 * float(values.min()), 100 * float(values.max())
    return f"{low:.3g} %" if abs(high - low) < 0.05 else f"{low:.3g} to {high:.3g} %"


def _equal_weight_is_dominated(material: Material) -> Judgement:
    owned = last_shares(material, "equal-weight").isel(bucket=-1)
    evidence = f"{percents(owned)} over layers and {owned.sizes['run']} seeds"
    if float(owned.min()) >= 0.95:
        return Judgement("reproduced", evidence)
    return Judgement("partly" if float(owned.mean()) >= 0.8 else "not reproduced", evidence)


def _pcgrad_is_close(material: Material) -> Judgement:
    ours, theirs = (last_shares(material, method).isel(bucket=-1).mean("run") for method in ("equal-weight", "pcgrad"))
    apart = float(abs(ours - theirs).max())
    return Judgement(
        "reproduced" if apart <= 0.05 else "not reproduced", f"at most {100 * apart:.3g} points apart in a layer"
    )


def _adatask_balances(material: Material) -> Judgement:
    shares = last_shares(material, "adatask")
    dominated, balanced = shares.isel(bucket=-1), shares.isel(bucket=2)
    evidence = f"{percents(dominated)} in (80, 100], {percents(balanced)} in (40, 60], over layers and seeds"
    holds = (float(dominated.max()) < 0.02, float(balanced.min()) > 0.5)
    return Judgement("reproduced" if all(holds) else "partly" if any(holds) else "not reproduced", evidence)


def _adatask_evens_out(material: Material) -> Judgement:
    even = last_shares(material, "adatask").isel(bucket=2).mean("run")
    said = ", ".join(f"{100 * float(each):.3g} %" for each in even)
    return Judgement(three(float(even.min()) >= 0.98, float(even.mean()) >= 0.9), f"by layer {said}")


def _others_stay_dominated_on_top(material: Material) -> Judgement:
    said, held = [], []
    for method in ("uw", "cagrad", "gradnorm"):
        owned = last_shares(material, method).isel(bucket=-1).mean("run")
        first, last = float(owned[0]), float(owned[-1])
        said.append(f"{CALLED[method]} {100 * first:.3g} % in the first layer, {100 * last:.3g} % in the last")
        held.append((first < 0.75, last > 0.5))
    better, still = (all(part) for part in zip(*held, strict=True))
    return Judgement(
        "reproduced" if better and still else "partly" if better or still else "not reproduced", "; ".join(said)
    )


def _ladatask_lies_between(material: Material) -> Judgement:
    free = 1 - last_shares(material, "ladatask").isel(bucket=[0, -1]).sum("bucket")
    mean = float(free.mean())
    evidence = (
        f"{100 * mean:.3g} % of the parameters are dominated by neither task ({percents(free)} over layers, seeds)"
    )
    return Judgement("reproduced" if 0.75 <= mean <= 0.95 else "not reproduced", evidence)


ITEMS = (
    Item(
        "adatask-fig2",
        PAPER,
        "Fig. 2",
        "rAU of task B over training, by method",
        needs=lambda wish: synthetic(wish, FIG8),
        make=_over_steps(FIG2),
        stands_for=READING,
        unstated=PRESET.left_open,
        claims=(
            Claim(
                "adatask-equal-weight",
                "with EqualWeight nearly all shared parameters are dominated by task B",
                "at the end at least 95 % of every layer in (80, 100] for B, every seed",
                _equal_weight_is_dominated,
            ),
            Claim(
                "adatask-pcgrad",
                "PCGrad is close to EqualWeight",
                "the share in (80, 100] differs by at most 5 points in every layer, mean over seeds",
                _pcgrad_is_close,
            ),
            Claim(
                "adatask-balances",
                "with AdaTask nearly no shared parameter is dominated",
                "in every layer and seed less than 2 % in (80, 100] for B, and more than half in (40, 60]",
                _adatask_balances,
            ),
        ),
        beside=lines(FIG2),
    ),
    Item(
        "adatask-fig3",
        PAPER,
        "Fig. 3",
        "rAU of task B: LAdaTask beside EqualWeight and AdaTask",
        needs=lambda wish: synthetic(wish, FIG3),
        make=_over_steps(FIG3),
        stands_for=READING,
        unstated=PRESET.left_open,
        claims=(
            Claim(
                "adatask-ladatask",
                "with LAdaTask about 85 % of the parameters are dominated by no task",
                "75 to 95 % of the shared parameters in (20, 80], mean over layers and seeds",
                _ladatask_lies_between,
            ),
        ),
        beside=lines(FIG3),
    ),
    Item(
        "adatask-fig8",
        PAPER,
        "Fig. 8",
        "rAU of task B by layer and method",
        needs=lambda wish: synthetic(wish, FIG8),
        make=_by_layer(FIG8),
        stands_for=READING,
        unstated=PRESET.left_open,
        claims=(
            Claim(
                "adatask-top-layers",
                "UW, CAGrad and GradNorm balance the first layer better and stay dominated at the top",
                "for each of them less than 75 % of the first layer and more than half of the last in (80, 100] for B,"
                " mean over seeds",
                _others_stay_dominated_on_top,
            ),
            Claim(
                "adatask-even-layers",
                "with AdaTask more than 98 % of the parameters of each of the four layers are in (40, 60]",
                "at least 98 % of every layer at the end, mean over seeds; partly: 90 %, mean over layers",
                _adatask_evens_out,
            ),
        ),
        beside=lines(FIG8, "layer"),
    ),
)
