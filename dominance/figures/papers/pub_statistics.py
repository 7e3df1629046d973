"""PUB's statistics of gradients and updates (Table I, Fig. 3 and 4), and its table of times (Table V)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.alignment import alignment
from dominance.analyse.kernels import t_test
from dominance.analyse.runs import Runs
from dominance.analyse.study.diff_association import diff_association
from dominance.analyse.study.t_tests import similarity_t_tests
from dominance.figures.papers.item import Claim, Item, Judgement, Wish
from dominance.figures.papers.jobs import Job, Timing, Training
from dominance.figures.papers.material import Material
from dominance.figures.papers.outcomes import of_parts, three
from dominance.figures.papers.speed import at_most, ratio_table
from dominance.figures.papers.table import Table
from dominance.figures.papers.values import Estimate
from dominance.plots.diff_association import plot_diff_association
from dominance.plots.result import Plot
from dominance.plots.scores import plot_scores

PAPER = "PUB"
PAPERS_OWN, STAND_IN = "aliexpress", "census"
SEEDS = (0, 1, 2)
METHODS = {"equal-weight": "LS", "mgda": "MGDA", "imtl-g": "IMTL-G", "nash-mtl": "NashMTL"}
ARCHITECTURES = ("hps", "mmoe", "ple")
TABLE1 = {"LS": (0.130, 0.116), "MGDA": (0.138, 0.106), "IMTL-G": (0.128, 0.102), "NashMTL": (0.144, 0.1228)}
"""Mean Sim_task and Sim_share over all trainings."""
PUBLISHED_P = {"MGDA": (0.111, 0.011), "IMTL-G": (0.483, 0.017), "NashMTL": (0.052, 0.045)}
SIDES = {"sim_task": "task-specific", "sim_shared": "shared"}
STANDS_FOR = (
    "The paper's data is AliExpress of four countries (--data aliexpress=DIR). In its place stands KDD Census-Income"
    " with two questions with yes or no, income and never married: 36 trainings in place of 144."
)
TIMED = {"equal-weight": "Base", "nash-mtl:every=10": "NashMTL", "pub:every=10": "PUB"}
TABLE5 = {
    "MMOE": {"Base": 558.26, "NashMTL": 702.31, "PUB": 651.36},
    "PLE": {"Base": 844.24, "NashMTL": 1050.65, "PUB": 984.25},
}
"""Seconds of an epoch on AliExpress ES, with batches of 4096 and new weights at every tenth step."""
RATIOS = {model: {name: seconds / times["Base"] for name, seconds in times.items()} for model, times in TABLE5.items()}


def trainings(wish: Wish) -> list[Job]:
    """All methods with all architectures and three seeds, Adam."""
    if PAPERS_OWN in wish.data:
        how: dict[str, Any] = {"settings": wish.settings(PAPERS_OWN), "batch_size": 4096}
    elif wish.scale == "full":
        how = {"settings": wish.settings(STAND_IN, weeks="input"), "every": 10}
    else:
        how = {"settings": wish.settings(STAND_IN, weeks="input", samples=20_000), "batch_size": 256, "every": 5}
    benchmark = PAPERS_OWN if PAPERS_OWN in wish.data else STAND_IN
    return [
        Training(benchmark, method, seed=seed, architecture=architecture, **how)
        for architecture in ARCHITECTURES
        for method in METHODS
        for seed in SEEDS
    ]


def study(material: Material) -> Runs:
    """The runs, by number."""
    return {str(number): run for number, run in enumerate(material.select(method=list(METHODS)))}


def aligned(material: Material) -> xr.Dataset:
    """``alignment`` of every run."""
    return material.once("alignment", lambda: alignment(study(material)))


def tests(material: Material) -> xr.Dataset:
    """``similarity_t_tests`` against LS."""
    return material.once("tests", lambda: similarity_t_tests(study(material), alignments=aligned(material)))


def association(material: Material) -> xr.Dataset:
    """``diff_association`` of all pairs."""
    return material.once("association", lambda: diff_association(study(material), diff=aligned(material)))


def _similarities(material: Material, backend: Any) -> Table:
    found = tests(material)
    header = ["method"]
    for side in SIDES.values():
        header += [f"{side}\nours", f"{side}\np", f"{side}\npaper", f"{side}\npaper's p"]
    rows = []
    for method, name in METHODS.items():
        row = [name]
        for place, side in enumerate(SIDES):
            mean = float(found["mean"].sel({"method_name": method, "similarity": side}))
            p = float(found["p"].sel({"test": "student", "method_name": method, "similarity": side}))
            theirs = f"{PUBLISHED_P[name][place]:.3f}" if name in PUBLISHED_P else ""
            row += [f"{mean:.3f}", "" if name == "LS" else f"{p:.3f}", f"{TABLE1[name][place]:.3f}", theirs]
        rows.append(row)
    n = int(found["n"].max())
    note = (
        f"Mean cosine similarity of gradient and update, over {n} trainings of each method; p of Student's t-test of"
        " independent samples against LS, as in the paper."
    )
    return Table(header, rows, note, backend=backend)


def _no_difference_on_tasks_but_on_shared(material: Material) -> Judgement:
    p = tests(material)["p"].sel({"test": "student"})
    said, holds = [], []
    for method, name in list(METHODS.items())[1:]:
        task, shared = (float(p.sel({"method_name": method, "similarity": side})) for side in SIDES)
        said.append(f"{name}: p {task:.2g} task-specific, {shared:.2g} shared")
        holds += [task > 0.05, shared < 0.05]
    return Judgement(of_parts(holds), f"{'; '.join(said)}; {sum(holds)} of {len(holds)} as published")


def _draw_similarities(material: Material, backend: Any) -> Plot:
    found = aligned(material)
    runs = list(study(material).values())  # type: ignore[union-attr]
    values = np.stack([found[f"mean_{side}"].values for side in SIDES], axis=-1)
    data = xr.Dataset(
        {"value": (("run", "task", "metric"), values[..., None])},
        coords={
            "run": found["run"].values,
            "task": [f"{side} parameters" for side in SIDES.values()],
            "metric": ["cosine of gradient and update"],
            "direction": (("task", "metric"), np.array([[""], [""]], dtype=object)),
            "benchmark": ("run", [run.attrs["benchmark"] for run in runs]),
            "method": ("run", [METHODS[run.attrs["method"]] for run in runs]),
            "architecture": ("run", [run.attrs["architecture"] for run in runs]),
            "seed": ("run", [float(run.attrs["training"]["seed"]) for run in runs]),
        },
    )
    return plot_scores(data, backend=backend)


def _higher_on_tasks(material: Material) -> Judgement:
    found = aligned(material)
    apart = t_test.mean((found["mean_sim_task"] - found["mean_sim_shared"]).dropna("run").values)
    task, shared = (Estimate.of(found[f"mean_{side}"].values).text(3) for side in SIDES)
    evidence = f"task-specific {task}, shared {shared}; over {int(apart.dof) + 1} pairs p = {apart.p:.2g}"
    return Judgement(three(apart.value > 0 and apart.p < 0.01, apart.value > 0), evidence)


def _draw_association(material: Material, backend: Any) -> Plot:
    return plot_diff_association(association(material), backend=backend)


def _reverse(material: Material) -> Judgement:
    found = association(material)
    share, p = float(found["reverse_share"]), float(found["p_chi2"])
    exchanged = float(found["p_permutation"].sel({"exchange": "run in stratum"}))
    methods = float(found["p_permutation"].sel({"exchange": "method in study"}))
    evidence = (
        f"{100 * share:.3g} % of {int(found['confusion'].sum())} pairs are reverse (paper: 70 % of 144); chi-square"
        f" test p = {p:.2g} (paper: < 0.001), scores exchanged between trainings p = {exchanged:.2g}, between methods"
        f" p = {methods:.2g}"
    )
    return Judgement(three(share > 0.5 and p < 0.05 and exchanged < 0.05, share > 0.5), evidence)


def timed(wish: Wish) -> list[Job]:
    """MMOE and PLE, batches of 4096, new weights at every tenth step."""
    benchmark = PAPERS_OWN if PAPERS_OWN in wish.data else STAND_IN
    settings = wish.settings(benchmark) if benchmark == PAPERS_OWN else wish.settings(benchmark, weeks="input")
    return [
        Timing(benchmark, tuple(TIMED), architecture=architecture, settings=settings, batch_size=4096)
        for architecture in ("mmoe", "ple")
    ]


def _timings(material: Material) -> dict[str, dict[str, Any]]:
    (benchmark,) = {timing["benchmark"] for timing in material.timings}
    return {"MMOE": material.timing(benchmark, "mmoe"), "PLE": material.timing(benchmark, "ple")}


def _times(material: Material, backend: Any) -> Table:
    return ratio_table(_timings(material), TIMED, RATIOS, backend)


def _times_hold(material: Material) -> Judgement:
    return at_most(_timings(material), TIMED, RATIOS)


def _faster_than_nash(material: Material) -> Judgement:
    said, holds = [], []
    for model, timing in _timings(material).items():
        nash, pub = (timing["methods"][name]["ratio"][1] for name in ("nash-mtl:every=10", "pub:every=10"))
        said.append(f"{model}: PUB {pub:.2f}, NashMTL {nash:.2f}")
        holds.append(pub < nash)
    return Judgement(of_parts(holds), "; ".join(said))


ITEMS = (
    Item(
        "pub-fig3",
        PAPER,
        "Fig. 3",
        "cosine similarity of gradient and update",
        needs=trainings,
        make=_draw_similarities,
        stands_for=STANDS_FOR,
        claims=(
            Claim(
                "pub-similarity",
                "the similarity of gradient and update is higher on task-specific parameters than on shared ones",
                "paired t-test over all trainings: higher, p < 0.01; partly: higher",
                _higher_on_tasks,
            ),
        ),
    ),
    Item(
        "pub-fig4",
        PAPER,
        "Fig. 4",
        "average AUC against Diff",
        needs=trainings,
        make=_draw_association,
        stands_for=STANDS_FOR,
        claims=(
            Claim(
                "pub-reverse",
                "lower Diff goes with higher average AUC",
                "more than half of the pairs are reverse, and p < 0.05 both in the paper's chi-square test and when"
                " scores are exchanged between trainings; partly: more than half",
                _reverse,
            ),
        ),
    ),
    Item(
        "pub-table1",
        PAPER,
        "Table I",
        "similarity of gradient and update, by method",
        needs=trainings,
        make=_similarities,
        stands_for=STANDS_FOR,
        claims=(
            Claim(
                "pub-similarity-methods",
                "against LS the similarity differs significantly on shared parameters, and not on task-specific ones",
                "Student's t-test as in the paper: for MGDA, IMTL-G and NashMTL p > 0.05 on task-specific and p <"
                " 0.05 on shared parameters; partly: three of the six",
                _no_difference_on_tasks_but_on_shared,
            ),
        ),
    ),
    Item(
        "pub-table5",
        PAPER,
        "Table V",
        "time of a training step",
        needs=timed,
        make=_times,
        stands_for="The paper's data is AliExpress ES (--data aliexpress=DIR); in its place stands KDD Census-Income"
        " with two tasks.",
        claims=(
            Claim(
                "pub-time",
                "an epoch takes PUB 1.17 times as long as the backbone (MMOE and PLE), and NashMTL 1.26 and 1.24 times",
                "the ratio of each is at or under the paper's; partly: of two of the four",
                _times_hold,
            ),
            Claim(
                "pub-time-nash",
                "PUB is faster than NashMTL",
                "a step takes it less time with MMOE and with PLE; partly: with one",
                _faster_than_nash,
            ),
        ),
    ),
    Item(
        "pub-table6",
        PAPER,
        "Table VI",
        "online test",
        needs=lambda wish: [],
        make=None,
        stands_for="An A/B test in a commercial platform: nobody outside of it can make it again.",
        claims=(
            Claim(
                "pub-online",
                "eCPM rises by 3.29 to 6.10 % a day, 4.06 % on average, in an online test of a week",
                "none: there is nothing to run",
                lambda material: Judgement("cannot be tested", "an online test"),
            ),
        ),
    ),
)
