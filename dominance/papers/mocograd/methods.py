"""MoCoGrad's figures of methods, architectures, λ and time; most of its data cannot be shipped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Timing
from dominance.papers.material import Material
from dominance.papers.mocograd.tables import BALANCED, HERO, METHODS, OVERLAID, PAPER, STL, board
from dominance.papers.outcomes import of_parts, three
from dominance.papers.plots.loss_curves import plot_loss_curves
from dominance.papers.presets import PAIR, PICTURES, PRESETS
from dominance.papers.score_claims import improve
from dominance.papers.scoreboard import Board, Row
from dominance.papers.table import Table
from dominance.plots.result import Plot
from dominance.plots.scores import plot_scores

FIG5 = board(
    "mocograd-fig5", "Fig. 5", "accuracy by method and task", "office-home", PAIR,
    f"The paper's data is Office-Home (--data office-home=DIR). {BALANCED}", decided_by="mocograd-table4",
)  # fmt: skip
FIG6 = board(
    "mocograd-fig6", "Fig. 6", "training losses by method", "nyuv2", PICTURES,
    f"The paper's data is NYUv2 (--data nyuv2=DIR). {OVERLAID}",
)  # fmt: skip
ARCHITECTURES = {"HPS": "hps", "Cross-stitch": "cross-stitch", "MMoE": "mmoe", "CGC": "cgc"}
FIG7 = Board(
    "mocograd-fig7", PAPER, "Fig. 7", "Δ_M by architecture",
    (
        Row(STL, {"method": "stl", "architecture": "hps"}),
        *(Row(label, {"method": "mocograd", "architecture": name}, STL) for label, name in ARCHITECTURES.items()),
    ),
    "mocograd", PRESETS[PAPER, "cityscapes"], PAIR,
    f"The paper's data is CityScapes (--data cityscapes=DIR). {BALANCED} Its fifth architecture, MTAN, needs pictures.",
)  # fmt: skip
LAMBDAS = (0.02, 0.06, 0.09, 0.12, 0.15, 0.2)
FIG9 = Board(
    "mocograd-fig9", PAPER, "Fig. 9", "Δ_M by λ",
    (
        Row(STL, {"method": "stl"}),
        *(Row(f"{lam:g}", {"method": "mocograd", "options": {"lam": lam}}, STL) for lam in LAMBDAS),
    ),
    "mocograd", PRESETS[PAPER, "office-home"], PAIR,
    f"The paper's data is Office-Home (--data office-home=DIR). {BALANCED}",
)  # fmt: skip


def draw_deltas(board: Board) -> Any:
    """A dot for each seed, mean and interval of Δ by row."""

    def draw(material: Material, backend: Any) -> Plot:
        found = board.deltas(material)
        values = {label: 100 * one["delta_by_run"].values for label, one in found.items()}
        names = [label for label, each in values.items() for _ in each]
        numbers = np.concatenate(list(values.values()))
        data = xr.Dataset(
            {"value": (("run", "task", "metric"), numbers[:, None, None])},
            coords={
                "run": [f"{name} {i}" for i, name in enumerate(names)],
                "task": ["all tasks"],
                "metric": ["Δ_M (%)"],
                "direction": (("task", "metric"), np.array([["higher"]], dtype=object)),
                "method": ("run", names),
            },
        )
        return plot_scores(data, backend=backend)

    return draw


def _draw_scores(material: Material, backend: Any) -> Plot:
    """The first metric of every task, a group of dots for each method."""
    from dominance.analyse.study.scores import final_scores

    runs = [run for each in FIG5.runs(material).values() for run in each]
    found = final_scores({str(i): run for i, run in enumerate(runs)})
    called = {method: label for label, method in METHODS.items()}
    return plot_scores(
        found.assign_coords(method=("run", [called[run.attrs["method"]] for run in runs])), backend=backend
    )


def losses(material: Material) -> xr.Dataset:
    """loss (method, task, epoch): means over the recorded steps of an epoch, and over seeds."""

    def find() -> xr.Dataset:
        each = {}
        for label, runs in FIG6.runs(material).items():
            if label != STL:
                by_run = [_by_epoch(run) for run in runs]
                each[label] = xr.concat(by_run, "run", coords="minimal", compat="override", join="inner").mean("run")
        joined = xr.concat(list(each.values()), "method", coords="minimal", compat="override", join="inner")
        return joined.assign_coords(method=list(each)).to_dataset(name="loss")

    return material.once("losses", find)


def _by_epoch(run: xr.DataTree) -> xr.DataArray:
    loss = run["loss/loss"].load()
    epochs = run["epoch"].values if "epoch" in run.coords else run["loss"]["epoch"].values
    return loss.assign_coords(epoch=("step", np.asarray(epochs))).groupby("epoch").mean()


def _draw_losses(material: Material, backend: Any) -> Plot:
    return plot_loss_curves(losses(material), front=HERO, base="DWA", backend=backend)


def _lower_loss(material: Material) -> Judgement:
    last = losses(material)["loss"].isel(epoch=-1)
    scaled = last / last.median("method")
    mean = scaled.mean("task")
    rank = int((mean < mean.sel({"method": HERO})).sum()) + 1
    ours = float(mean.sel({"method": HERO}))
    evidence = f"its last training loss is {ours:.3g} times the median method's, mean over tasks: {rank} of {mean.size}"
    return Judgement(three(rank == 1, rank <= 3), evidence)


def _falls(material: Material) -> Judgement:
    ours = losses(material)["loss"].sel({"method": HERO})
    falls = (ours.diff("epoch") < 0).all("epoch")
    overall = bool(((ours / ours.isel(epoch=0)).mean("task").diff("epoch") < 0).all())
    said = ", ".join(
        f"{task}: {'falls' if down else 'not'}" for task, down in zip(ours["task"].values, falls.values, strict=True)
    )
    return Judgement(three(bool(falls.all()), overall), f"in every epoch: {said}; mean of all: "
                     f"{'falls' if overall else 'not'}")  # fmt: skip


def _two_below_stl(material: Material) -> Judgement:
    said, below, sure = [], [], []
    for label in ("MGDA", "CAGrad"):
        value, low, high = (100 * float(FIG5.deltas(material)[label][part]) for part in ("delta", "low", "high"))
        said.append(f"{label} {value:+.2f} % ({low:+.2f} to {high:+.2f})")
        below.append(value < 0)
        sure.append(high < 0)
    return Judgement(three(all(sure), any(below)), "; ".join(said))


def _all_above_stl(material: Material) -> Judgement:
    found = FIG7.deltas(material)
    above = {label: float(one["low"]) > 0 for label, one in found.items()}
    means = {label: float(one["delta"]) for label, one in found.items()}
    said = ", ".join(f"{label} {100 * value:+.2f} %" for label, value in means.items())
    return Judgement(three(all(above.values()), all(value > 0 for value in means.values())), said)


def _extremes_are_worse(material: Material) -> Judgement:
    inner: list[float] = []
    outer: list[float] = []
    for label, one in FIG9.deltas(material).items():
        (inner if 0.06 <= float(label) <= 0.13 else outer).append(100 * float(one["delta"]))
    said = [f"{min(values):+.2f} to {max(values):+.2f} %" for values in (inner, outer)]
    return Judgement(
        three(max(outer) < min(inner), float(np.mean(outer)) < float(np.mean(inner))),
        f"Δ_M {said[0]} inside, {said[1]} outside",
    )


def _best_lambda(material: Material) -> Judgement:
    means = {label: float(one["delta"]) for label, one in FIG9.deltas(material).items()}
    best = max(means, key=lambda label: means[label])
    order = sorted(means, key=lambda label: -means[label])
    said = ", ".join(f"{label}: {100 * value:+.2f} %" for label, value in means.items())
    return Judgement(three(best == "0.12", "0.12" in order[:2]), f"best λ = {best}; {said}")


TIMED = ("equal-weight", *(method for label, method in METHODS.items() if label != STL))


def timed(wish: Wish) -> list[Job]:
    """All methods, two tasks, batches of 1024."""
    if "aliexpress" in wish.data:
        return [Timing("aliexpress", TIMED, settings=wish.settings("aliexpress"), batch_size=1024)]
    return [Timing("census", TIMED, settings=wish.settings("census", weeks="input"), batch_size=1024)]


def _times(material: Material, backend: Any) -> Table:
    (timing,) = material.timings
    called = {method: label for label, method in METHODS.items()} | {"equal-weight": "EqualWeight"}
    body = []
    for method, found in timing["methods"].items():
        low, middle, high = found["backward_ratio"]
        body.append([called[method], f"{1e3 * found['backward']:.3g}", f"{middle:.2f} ({low:.2f} to {high:.2f})"])
    note = (
        "Everything of a step after the losses; median over laps, in brackets the quartiles, in turns in one"
        " process. The paper shows bars without numbers."
    )
    return Table(["method", "backward\nms a step", "times\nEqualWeight"], body, note, backend=backend)


def _backward(material: Material) -> dict[str, float]:
    (timing,) = material.timings
    return {method: found["backward_ratio"][1] for method, found in timing["methods"].items()}


def _comparable(material: Material) -> Judgement:
    found = _backward(material)
    ratios = {
        name: found["mocograd"] / found[method] for name, method in (("PCGrad", "pcgrad"), ("GradVac", "gradvac"))
    }
    said = ", ".join(f"{ratio:.2f} times that of {name}" for name, ratio in ratios.items())
    return Judgement(of_parts([0.75 <= ratio <= 1.25 for ratio in ratios.values()]), f"MoCoGrad's is {said}")


def _nash_is_slowest(material: Material) -> Judgement:
    found = _backward(material)
    order = sorted(found, key=lambda method: -found[method])
    said = ", ".join(f"{method} {found[method]:.2f}" for method in order[:3])
    return Judgement(three(order[0] == "nash-mtl", "nash-mtl" in order[:3]), f"slowest: {said}")


ITEMS = (
    replace(
        FIG5.item(
            Claim("mocograd-below-stl", "MGDA and CAGrad perform worse than single-task learning",
                  "the 95 % interval of Δ_M over seeds lies below 0 for both; partly: the mean of one does",
                  _two_below_stl)
        ),
        make=_draw_scores,
    ),
    replace(FIG6.item(), make=_draw_losses, claims=(
        Claim("mocograd-loss", "MoCoGrad reaches the lowest training loss",
              "its training loss in the last epoch, each task's divided by the median method's, mean over tasks, is the"
              " lowest of ten methods; partly: of the lowest three", _lower_loss),
        Claim("mocograd-loss-falls", "MoCoGrad's loss decreases constantly throughout the training",
              "the loss of every task is lower in each epoch than in the one before, means over seeds; partly: the"
              " mean over tasks, each divided by that of its first epoch", _falls),
    )),
    replace(FIG7.item(), make=draw_deltas(FIG7), claims=(
        Claim("mocograd-architectures", "MoCoGrad does better than single-task learning with every architecture",
              "the 95 % interval of Δ_M over seeds lies above 0 with each; partly: the means do", _all_above_stl),
        improve(FIG7, "mocograd-better-architectures", "with Cross-stitch, MMoE and CGC MoCoGrad does better than with"
                " HPS", {label: "HPS" for label in ARCHITECTURES if label != "HPS"}),
    )),
    Item(
        "mocograd-fig8", PAPER, "Fig. 8", "time of the backward part of a step", timed, _times,
        "The paper's data is AliExpress (--data aliexpress=DIR), and it takes the gradients of features; here are"
        " those of parameters, with KDD Census-Income.",
        own=lambda material: material.given("aliexpress"),
        claims=(
            Claim("mocograd-time", "MoCoGrad's backward time is comparable with PCGrad's and GradVac's",
                  "within 25 % of both; partly: of one", _comparable),
            Claim("mocograd-time-nash", "Nash-MTL takes the most time", "its backward time is the longest of eleven;"
                  " partly: one of the three longest", _nash_is_slowest),
        ),
    ),
    replace(FIG9.item(), make=draw_deltas(FIG9), claims=(
        Claim("mocograd-lambda", "λ = 0.12 is the best", f"of λ in {', '.join(map(str, LAMBDAS))} the mean Δ_M over"
              " seeds is highest with 0.12; partly: it is of the best two", _best_lambda),
        Claim("mocograd-lambda-range", "λ above 0.13 or below 0.06 is worse", "the mean Δ_M of every λ outside [0.06,"
              " 0.13] is lower than that of every one inside; partly: their mean is", _extremes_are_worse),
    )),
)  # fmt: skip
