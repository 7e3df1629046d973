"""PUB's statistics of gradients and updates (Table I, Fig. 3 and 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dominance.analyse.alignment import alignment
from dominance.analyse.kernels import t_test
from dominance.analyse.runs import Runs
from dominance.analyse.study.diff_association import diff_association
from dominance.analyse.study.t_tests import similarity_t_tests
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Job, Training
from dominance.papers.material import Material
from dominance.papers.outcomes import of_parts, three
from dominance.papers.paired import AT_LEAST
from dominance.papers.presets import PRESETS, QUESTIONS
from dominance.papers.table import Table
from dominance.papers.values import Estimate
from dominance.plots.diff_association import plot_diff_association
from dominance.plots.result import Plot
from dominance.plots.scores import plot_scores

PAPER = "PUB"
PAPERS_OWN, STAND_IN = "aliexpress", QUESTIONS.benchmark
SEEDS = range(AT_LEAST)
METHODS = {"equal-weight": "LS", "mgda": "MGDA", "imtl-g": "IMTL-G", "nash-mtl": "NashMTL"}
ARCHITECTURES = ("hps", "mmoe", "ple")
TABLE1 = {"LS": (0.130, 0.116), "MGDA": (0.138, 0.106), "IMTL-G": (0.128, 0.102), "NashMTL": (0.144, 0.1228)}
"""Mean Sim_task and Sim_share over all trainings."""
PUBLISHED_P = {"MGDA": (0.111, 0.011), "IMTL-G": (0.483, 0.017), "NashMTL": (0.052, 0.045)}
SIDES = {"sim_task": "task-specific", "sim_shared": "shared"}
STANDS_FOR = (
    "The paper's data is AliExpress of four countries (--data aliexpress=DIR). In its place stands KDD Census-Income"
    " with two questions with yes or no, income and never married: 60 trainings in place of 144."
)


def trainings(wish: Wish) -> list[Job]:
    """All methods with all architectures and five seeds, Adam."""
    own = PAPERS_OWN in wish.data
    benchmark = PAPERS_OWN if own else STAND_IN
    how = dict(PRESETS[PAPER, PAPERS_OWN].how) if own else {"every": 10, **QUESTIONS.how(wish.scale)}
    settings = wish.settings(benchmark, **how.pop("settings", {}))
    return [
        Training(benchmark, method, seed=seed, architecture=architecture, settings=settings, **how)
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


def _as_signed(material: Material) -> Judgement:
    found = tests(material).sel({"test": "student", "similarity": "sim_shared"})
    said, holds = [], []
    for method, sign in (("mgda", -1), ("imtl-g", -1), ("nash-mtl", 1)):
        t, p = (float(found[name].sel({"method_name": method})) for name in ("t", "p"))
        said.append(f"{METHODS[method]} {'higher' if t > 0 else 'lower'}, p {p:.2g}")
        holds.append((sign * t > 0, p < 0.05))
    signs = [sign for sign, _ in holds]
    return Judgement(three(all(map(all, holds)), sum(signs) >= 2), "; ".join(said))


def _higher_diff(material: Material) -> Judgement:
    found = aligned(material)["diff_of_means"]
    of = np.array([run.attrs["method"] for run in study(material).values()])  # type: ignore[union-attr]
    said, holds = [], []
    for method in list(METHODS)[1:]:
        x, y = (found.values[of == name] for name in (method, "equal-weight"))
        one = t_test.student(x[~np.isnan(x)], y[~np.isnan(y)])
        said.append(f"{METHODS[method]} {one.value:+.3f}, p {one.p:.2g}")
        holds.append((one.value > 0, one.p < 0.05))
    higher = [each for each, _ in holds]
    return Judgement(three(all(map(all, holds)), sum(higher) >= 2), f"against LS: {'; '.join(said)}")


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


ITEMS = (
    Item(
        "pub-fig3",
        PAPER,
        "Fig. 3",
        "cosine similarity of gradient and update",
        needs=trainings,
        make=_draw_similarities,
        stands_for=STANDS_FOR,
        own=lambda material: material.given(PAPERS_OWN),
        unstated=PRESETS[PAPER, PAPERS_OWN].left_open,
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
        own=lambda material: material.given(PAPERS_OWN),
        unstated=PRESETS[PAPER, PAPERS_OWN].left_open,
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
        own=lambda material: material.given(PAPERS_OWN),
        unstated=PRESETS[PAPER, PAPERS_OWN].left_open,
        claims=(
            Claim(
                "pub-similarity-methods",
                "against LS the similarity differs significantly on shared parameters, and not on task-specific ones",
                "Student's t-test as in the paper: for MGDA, IMTL-G and NashMTL p > 0.05 on task-specific and p <"
                " 0.05 on shared parameters; partly: three of the six",
                _no_difference_on_tasks_but_on_shared,
            ),
            Claim(
                "pub-similarity-signs",
                "on shared parameters it is lower with MGDA and IMTL-G than with LS, and higher with NashMTL",
                "Student's t-test as in the paper: so, each with p < 0.05; partly: two of the three signs",
                _as_signed,
            ),
            Claim(
                "pub-diff-higher",
                "MGDA, IMTL-G and NashMTL cause a significantly higher Diff than LS",
                "Diff of the mean similarities of a training: higher than with LS for each, p < 0.05 in Student's"
                " t-test of independent samples; partly: higher for two of the three",
                _higher_diff,
            ),
        ),
    ),
)
