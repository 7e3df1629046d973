"""What dominance does, by AdaTask: noise on dominated parameters (Fig. 1), learning rates (7); time (Table 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.learning_rate import lr_dominance
from dominance.analyse.noise import noise_importance
from dominance.papers.adatask.buckets import CALLED, PAPER, PRESET, READING, SYNTHETIC, synthetic
from dominance.papers.adatask.tables import METRIC
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Timing
from dominance.papers.material import Material
from dominance.papers.outcomes import of_parts, three
from dominance.papers.paired import AT_LEAST
from dominance.papers.plots.noise_sweeps import plot_noise_sweeps
from dominance.papers.presets import PRESETS
from dominance.papers.speed import at_most, ratio_table
from dominance.papers.table import Table
from dominance.papers.values import Estimate
from dominance.plots.lr_dominance import plot_lr_dominance
from dominance.plots.result import Plot

A, B = "A", "B"
MUCH = 10.0
"""Times; the paper has 54."""
RATED = ("equal-weight", "adatask")
"""Methods whose learning rates Fig. 7 shows."""
TABLE10 = {
    "EqualWeight": 249.20,
    "PCGrad": 343.01,
    "GradNorm": 346.51,
    "CAGrad": 353.64,
    "MGDA": 442.62,
    "AdaTask": 332.14,
}
"""Seconds of an epoch on CityScapes with MTAN."""
RATIOS = {"MTAN": {name: seconds / TABLE10["EqualWeight"] for name, seconds in TABLE10.items()}}
TIMED = {
    method: CALLED.get(method, "MGDA") for method in ("equal-weight", "pcgrad", "gradnorm", "cagrad", "mgda", "adatask")
}


def noise(material: Material) -> xr.Dataset:
    """What noise on the parameters of B with the highest rAU changes: the probes of all seeds, along ``run``."""

    def find() -> xr.Dataset:
        runs = material.select(benchmark=SYNTHETIC, method="equal-weight")
        each = [
            noise_importance(run)[["change", "share_perturbed"]].sel(owner=B, metric=METRIC, drop=True) for run in runs
        ]
        joined: xr.Dataset = xr.concat(each, dim="run", coords="minimal", compat="override", join="exact")
        return joined

    return material.once("noise", find)


def _draw_noise(material: Material, backend: Any) -> Plot:
    return plot_noise_sweeps(noise(material), owner=B, backend=backend)


def _changes(material: Material, selection: str = "top") -> tuple[xr.DataArray, xr.DataArray]:
    """Change (run, task, variance) with the top 1 %, and (run, task, fraction) with variance 0.01; means of repeats."""
    change = noise(material)["change"].sel(selection=selection).mean("repeat")
    return by_variance(change), by_fraction(change)


def by_variance(change: xr.DataArray) -> xr.DataArray:
    """The settings of the smallest fraction, along ``variance``."""
    kept = change.isel(setting=np.flatnonzero(change["fraction"].values == change["fraction"].values.min()))
    return kept.swap_dims(setting="variance").sortby("variance")


def by_fraction(change: xr.DataArray) -> xr.DataArray:
    """The settings of the smallest variance, along ``fraction``."""
    kept = change.isel(setting=np.flatnonzero(change["variance"].values == change["variance"].values.min()))
    return kept.swap_dims(setting="fraction").sortby("fraction")


def _b_suffers_most(material: Material) -> Judgement:
    change, _ = _changes(material)
    more = change.sel(task=B) > change.sel(task=A)
    last, means = change.isel(variance=-1), change.mean("run")
    ratio = (means.sel(task=B) / means.sel(task=A)).values
    said = f"{ratio.min():.2g} to {ratio.max():.2g}"
    each = (last.sel(task=B) / last.sel(task=A)).values  # one seed's A can decide the ratio of the means
    evidence = (
        f"B suffers more in {int(more.sum())} of {more.size} cases, {said} times as much by the means; at variance"
        f" {float(last['variance']):g} RMSE grows by {_percent(last.sel(task=B))} on B and"
        f" {_percent(last.sel(task=A))} on A (paper: 175.13 %, 3.23 %), by seed"
        f" {', '.join(f'{value:.3g}' for value in each)} times as much (paper: 54)"
    )
    evidence += f"; noise is on {_perturbed(material)} of the shared parameters"
    much = bool((means.sel(task=B) >= MUCH * means.sel(task=A)).all())
    return Judgement(three(bool(more.all()) and much, bool((means.sel(task=B) > means.sel(task=A)).all())), evidence)


def _more_noise_hurts_more(material: Material) -> Judgement:
    change, fractions = _changes(material)
    mean, wide = change.sel(task=B).mean("run"), fractions.sel(task=B).mean("run")
    grows = bool((mean.diff("variance") > 0).all())
    wider = float(wide[-1]) > float(wide[0])
    evidence = (
        f"B by variance: {', '.join(f'{100 * value:.3g} %' for value in mean.values)}; by fraction at variance 0.01:"
        f" {', '.join(f'{100 * value:.3g} %' for value in wide.values)} (paper: 7.20 % with the top 1 %, 72.62 %"
        " with the top 20 %)"
    )
    return Judgement(of_parts([grows, wider]), evidence)


def _its_own(material: Material) -> Judgement:
    (top, _), (random, _) = _changes(material), _changes(material, "random")
    ratio = (top / random).sel(task=B)
    own = (top.sel(task=B) - random.sel(task=B)).mean("variance")
    low = Estimate.of(own.values)
    evidence = (
        f"RMSE of B grows {Estimate.of(ratio.mean('variance').values).text(2)} times as much as with noise on as many"
        f" random ones; the difference is {100 * low.mean:.3g} ± {100 * low.half:.2g} points"
    )
    return Judgement(three(low.seeds >= AT_LEAST and low.mean - low.half > 0, low.mean > 0), evidence)


def _perturbed(material: Material) -> str:
    """The share of all shared parameters that the smallest fraction comes to, in words."""
    found = noise(material)
    share = found["share_perturbed"].isel(setting=int(found["fraction"].values.argmin()))
    return f"{100 * float(share.mean()):.3g} %"


def _percent(values: xr.DataArray) -> str:
    one = Estimate.of(100 * values.values)
    return f"{one.text(2)} %"


def rates(material: Material, method: str) -> list[xr.Dataset]:
    """``lr_dominance`` of each seed."""

    def find() -> list[xr.Dataset]:
        return [lr_dominance(run) for run in material.select(benchmark=SYNTHETIC, method=method)]

    return material.once(("rates", method), find)


def _draw_rates(material: Material, backend: Any) -> Plot:
    """(a) EqualWeight and (b) AdaTask, of the first seed; with AdaTask no parameter has a whole learning rate."""
    parts = []
    for method in RATED:
        found = rates(material, method)[0][["learning_rate", "whole", "closeness"]]
        if found.attrs["own_rates"]:
            found = found.assign(whole=found["whole"] * np.nan, closeness=found["closeness"] * np.nan)
        names = [f"{CALLED[method]}, layer {place + 1}" for place in range(found.sizes["layer"])]
        parts.append(found.assign_coords(layer=np.array(names, dtype=object)))
    joined = xr.concat(parts, dim="layer", join="inner", combine_attrs="drop_conflicts")
    return plot_lr_dominance(joined.assign_attrs({**parts[0].attrs, "own_rates": False}), backend=backend)


def _b_rules_the_rate(material: Material) -> Judgement:
    each = rates(material, "equal-weight")
    near = xr.concat([one["closeness"].mean("step") for one in each], dim="run", coords="minimal", compat="override")
    holds = near.sel(task=B) > near.sel(task=A)
    b, a = (near.sel(task=task) for task in (B, A))
    evidence = (
        f"B is closer in {int(holds.sum())} of {holds.size} layers and seeds: closeness {float(b.min()):.2f} to"
        f" {float(b.max()):.2f} of B, {float(a.min()):.2f} to {float(a.max()):.2f} of A"
    )
    return Judgement(three(bool(holds.all()), bool(holds.mean() > 0.5)), evidence)


def _a_would_be_faster(material: Material) -> Judgement:
    ratios = [
        (one["learning_rate"].sel(task=A) / one["whole"]).median("step") for one in rates(material, "equal-weight")
    ]
    found = xr.concat(ratios, dim="run", coords="minimal", compat="override")
    evidence = f"A's own learning rate is {float(found.min()):.3g} to {float(found.max()):.3g} times the one it has"
    return Judgement(three(bool((found > 1).all()), bool((found > 1).mean() > 0.5)), evidence)


def timed(wish: Wish) -> list[Job]:
    """MTAN on SegNet, as in the paper; without its pictures on made-up ones, smaller and with fewer maps."""
    if "cityscapes" in wish.data:
        settings = wish.settings("cityscapes", **PRESETS[PAPER, "cityscapes"].how["settings"])
        return [
            Timing("cityscapes", tuple(TIMED), architecture="mtan", settings=settings, batch_size=8, laps=10, steps=1)
        ]
    settings = {"backbone": "segnet", "width": 16}
    return [
        Timing(
            "cityscapes",
            tuple(TIMED),
            architecture="mtan",
            settings=settings,
            sample="64x128",
            batch_size=2,
            laps=7,
            steps=1,
        )
    ]


def _times(material: Material, backend: Any) -> Table:
    return ratio_table({"MTAN": material.timing("cityscapes")}, TIMED, RATIOS, backend)


def _times_hold(material: Material) -> Judgement:
    return at_most({"MTAN": material.timing("cityscapes")}, TIMED, RATIOS)


def _fastest(material: Material) -> Judgement:
    found = {name: material.timing("cityscapes")["methods"][method]["ratio"][1] for method, name in TIMED.items()}
    slower = [found[name] > found["AdaTask"] for name in found if name not in ("EqualWeight", "AdaTask")]
    order = sorted(found, key=lambda name: found[name])
    return Judgement(of_parts(slower), ", ".join(f"{name} {found[name]:.2f}" for name in order))


ITEMS = (
    Item(
        "adatask-fig1",
        PAPER,
        "Fig. 1",
        "noise on the parameters that task B dominates",
        needs=lambda wish: synthetic(wish, ("equal-weight",)),
        make=_draw_noise,
        stands_for=READING,
        unstated=PRESET.left_open,
        claims=(
            Claim(
                "adatask-noise-task",
                "noise on the top 1 % by rAU of B hurts B much more than A",
                "RMSE grows more on B than on A at each of five variances and in every seed, and ten times as much by"
                " the means over seeds (it was twice, added after a first run; the paper has 54 times); partly: more by"
                " the means",
                _b_suffers_most,
            ),
            Claim(
                "adatask-noise-size",
                "more noise, and noise on more parameters, hurts B more",
                "the mean growth of B's RMSE rises from each variance to the next, and is larger with the top 20 % than"
                " with the top 1 %; partly: one of the two",
                _more_noise_hurts_more,
            ),
            Claim(
                "adatask-noise-own",
                "noise on the parameters with the highest rAU for B hurts B more than noise on as many others",
                "noise on the top 1 % hurts B more than the same noise on as many random parameters: the 95 %"
                f" interval of the difference over at least {AT_LEAST} seeds lies above 0; partly: its mean does",
                _its_own,
                ours=True,
            ),
        ),
    ),
    Item(
        "adatask-fig7",
        PAPER,
        "Fig. 7",
        "learning rates by each task's own accumulated gradients",
        needs=lambda wish: synthetic(wish, RATED),
        make=_draw_rates,
        stands_for=READING,
        unstated=PRESET.left_open,
        claims=(
            Claim(
                "adatask-rate-b",
                "with EqualWeight LR-B is much closer to LR-Whole than LR-A is",
                "closeness, mean over the training and ten parameters of a layer, is higher for B than for A in each of"
                " four layers and every seed; partly: in more than half",
                _b_rules_the_rate,
            ),
            Claim(
                "adatask-rate-a",
                "task A should have a larger learning rate, by its own accumulated gradients",
                "LR-A is larger than LR-Whole in each of four layers and every seed (median over the training);"
                " partly: in more than half",
                _a_would_be_faster,
            ),
        ),
    ),
    Item(
        "adatask-table10",
        PAPER,
        "Table 10",
        "time of a training step",
        needs=timed,
        make=_times,
        stands_for="MTAN on SegNet as in the paper, where CityScapes is not given on made-up pictures of 64x128 with 16"
        " maps in the first stage and batch size 2 (paper: 128x256, 64, 8): what a picture shows takes no time.",
        own=lambda material: material.given("cityscapes"),
        claims=(
            Claim(
                "adatask-time",
                "AdaTask takes 1.33 times the time of EqualWeight, PCGrad 1.38, GradNorm 1.39, CAGrad 1.42, MGDA 1.78",
                "the ratio of each of the five methods is at or under the paper's; partly: of three",
                _times_hold,
            ),
            Claim(
                "adatask-time-least",
                "AdaTask takes less time than all others but EqualWeight",
                "its ratio is under those of PCGrad, GradNorm, CAGrad and MGDA; partly: of two",
                _fastest,
            ),
        ),
    ),
)
